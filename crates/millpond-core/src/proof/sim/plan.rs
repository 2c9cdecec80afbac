//! What a world is like: its settings, its server, and how often what happens.

use crate::PoolConfig;
use crate::rt::Time;
use fastrand::Rng;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

/// How a call of the server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    Transient,
    Permanent,
    Failover,
    /// It ends at its limit and not before.
    Hangs,
    /// Its future is dropped before it has ended.
    Cut,
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: PoolConfig,
    pub(super) keeps: bool,
    pub(super) users: u32,
    pub(super) first_connect_hooks: bool,
    pub(super) checkout_hooks: bool,
    pub(super) checkin_hooks: bool,
    /// How many of a thousand calls do not end well.
    faults: u32,
    /// How many of a hundred acquires are given up before their time.
    pub(super) impatience: u32,
    /// How many of a hundred steps belong to those who ask, at most.
    pub(super) rush: u32,
    /// How many of a thousand steps change the pool as a whole.
    pub(super) meddling: u32,
    /// Whether callers watch their own deadlines from the start.
    pub(super) has_timer: bool,
    outages: bool,
    down_until: Time,
}

fn some(dice: &mut Rng, span: impl FnOnce(&mut Rng) -> Duration) -> Option<Duration> {
    if dice.u32(0..3) == 0 { Some(span(dice)) } else { None }
}

impl Plan {
    pub(super) fn draw(dice: &mut Rng) -> Self {
        let wide = dice.u32(0..8) == 0;
        let largest = if wide { 40 } else { 6 };
        let mut config = PoolConfig::default();
        config.pool_size = dice.u32(1..=largest);
        config.max_overflow = if dice.bool() { 0 } else { dice.u32(0..=largest) };
        config.pool_timeout = MS * dice.u32(1..3_000);
        config.pool_recycle = some(dice, |dice| MS * dice.u32(20..5_000));
        config.recycle_jitter = dice.u32(0..=50);
        config.pool_pre_ping = dice.bool();
        config.pre_ping_idle = if dice.bool() { Duration::ZERO } else { MS * dice.u32(0..500) };
        config.ping_timeout = MS * dice.u32(1..100);
        config.connect_timeout =
            MS * if dice.u32(0..4) == 0 { dice.u32(200..8_000) } else { dice.u32(1..200) };
        config.close_timeout = MS * dice.u32(1..100);
        config.idle_timeout = some(dice, |dice| MS * dice.u32(1..500));
        config.min_idle =
            if dice.u32(0..4) == 0 { Some(dice.u32(0..=config.pool_size)) } else { None };
        config.max_waiters = if dice.u32(0..4) == 0 { Some(dice.u32(1..20)) } else { None };
        config.max_connecting = dice.u32(1..=6);
        config.backoff_max = MS * dice.u32(1..200);
        config.fail_fast_after = some(dice, |dice| MS * dice.u32(1..2_000));
        config.overflow_after = some(dice, |dice| MS * dice.u32(1..100)).unwrap_or(Duration::ZERO);
        config.overflow_linger = some(dice, |dice| MS * dice.u32(1..100)).unwrap_or(Duration::ZERO);
        config.max_lease = if dice.u32(0..6) == 0 { Some(MS * dice.u32(1..200)) } else { None };
        config.leak_after = if dice.u32(0..6) == 0 { Some(MS * dice.u32(1..200)) } else { None };
        let crowd = if dice.u32(0..10) == 0 { 3_000 } else { 60 };
        Self {
            config,
            keeps: dice.u32(0..10) > 0,
            users: dice.u32(1..=crowd),
            first_connect_hooks: dice.u32(0..4) == 0,
            checkout_hooks: dice.u32(0..5) == 0,
            checkin_hooks: dice.u32(0..5) == 0,
            faults: [0, 10, 100, 500][dice.usize(0..4)],
            impatience: [0, 5, 40][dice.usize(0..3)],
            rush: dice.u32(5..40),
            meddling: [0, 2, 20][dice.usize(0..3)],
            has_timer: dice.bool(),
            outages: dice.u32(0..3) == 0,
            down_until: Time::ZERO,
        }
    }

    /// How the next call ends.
    pub(super) fn fate(&mut self, dice: &mut Rng, now: Time) -> Fate {
        if self.outages && now >= self.down_until && dice.u32(0..3_000) == 0 {
            self.down_until = now.after(MS * dice.u32(1..3_000));
        }
        let down = now < self.down_until && dice.u32(0..20) > 0;
        if !down && dice.u32(0..1_000) >= self.faults {
            return Fate::Well;
        }
        match dice.u32(0..20) {
            0..12 => Fate::Transient,
            12 => Fate::Permanent,
            13 => Fate::Failover,
            14..18 => Fate::Hangs,
            _ => Fate::Cut,
        }
    }

    /// From now on everything ends well, and nobody meddles.
    pub(super) fn heal(&mut self) {
        (self.faults, self.outages, self.impatience, self.meddling) = (0, false, 0, 0);
        self.down_until = Time::ZERO;
    }
}
