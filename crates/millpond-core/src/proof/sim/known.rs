//! What the simulator knows of a world by its own books, to hold the ledger against it.

use super::desk::{Phase, Wire};
use super::plan::Plan;
use crate::ConnectionId;
use crate::ErrorClass;
use crate::PoolConfig;
use crate::Status;
use crate::error::PoolError;
use crate::ledger::PooledConnection;
use crate::ledger::{Claimant, Pause};
use crate::rt::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// What has happened, by the world's own books.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) config: PoolConfig,
    pub(super) now: Time,
    pub(super) closed: bool,
    pub(super) suspended: bool,
    /// Those who are woken now are not granted anything: the watch or the end of the maintenance
    /// task wakes them.
    pub(super) alarm: bool,
    pub(super) generation: u64,
    /// Those who wait and were granted nothing, by arrival.
    pub(super) waiting: BTreeMap<u64, u32>,
    pub(super) arrival_of: BTreeMap<u32, u64>,
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) served: u64,
    pub(super) created: u64,
    pub(super) connect_failed: u64,
    pub(super) detached: u64,
    pub(super) last_id: Option<ConnectionId>,
    pub(super) out: BTreeMap<ConnectionId, u64>,
    /// Since when nothing but failure came of connecting, and how often.
    pub(super) failing_since: Option<Time>,
    pub(super) failures: u32,
    pub(super) hopeless: bool,
    pub(super) pause: Pause,
    /// When somebody last asked who was not served.
    pub(super) asked: Option<Time>,
    /// Whether somebody asks at this moment, and may be refused.
    pub(super) asking: bool,
    pub(super) warm: Vec<u32>,
    pub(super) connecting: u32,
    /// Who has not answered since then is suspected since then.
    pub(super) suspicion: (Time, Time),
    pub(super) before: Status,
}

impl Known {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            config: plan.config.clone(),
            now: Time::ZERO,
            closed: false,
            suspended: false,
            alarm: false,
            generation: 0,
            waiting: BTreeMap::new(),
            arrival_of: BTreeMap::new(),
            begun: 0,
            ended: 0,
            served: 0,
            created: 0,
            connect_failed: 0,
            detached: 0,
            last_id: None,
            out: BTreeMap::new(),
            failing_since: None,
            failures: 0,
            hopeless: false,
            pause: Pause { with_demand: Time::ZERO, without_demand: Time::ZERO },
            asked: None,
            asking: false,
            warm: Vec::new(),
            connecting: 0,
            suspicion: (Time::ZERO, Time::ZERO),
            before: Status::default(),
        }
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting.len() as u32
    }

    pub(super) fn note_wait(&mut self, who: u32, arrival: u64) {
        self.asked = Some(self.now);
        self.waiting.insert(arrival, who);
        self.arrival_of.insert(who, arrival);
    }

    pub(super) fn note_leave(&mut self, arrival: u64) {
        if let Some(who) = self.waiting.remove(&arrival) {
            self.arrival_of.remove(&who);
        }
    }

    /// Somebody was woken. Whether that is a grant; then it must be the first of those who wait.
    /// Those who were served silently have been in the queue up to the first who still waits, in
    /// whatever order.
    pub(super) fn note_grant(&mut self, who: u32, silently: bool) -> bool {
        let Some(arrival) = self.arrival_of.remove(&who) else { return false };
        let first =
            if silently { self.waiting.remove_entry(&arrival) } else { self.waiting.pop_first() };
        assert_eq!(
            first,
            Some((arrival, who)),
            "I5: somebody was served before one who came earlier"
        );
        true
    }

    /// Those who wait by our books and came before `first`, the first who waits by the ledger's.
    pub(super) fn served_before(&self, first: u64) -> Vec<u32> {
        self.waiting.range(..first).map(|(_, who)| *who).collect()
    }

    /// One who arrived then was lent something at once.
    pub(super) fn assert_nobody_passed(&self, arrival: u64) {
        assert!(!self.suspended, "I19: a suspended pool lends");
        assert!(!self.closed, "I6: a closed pool lends");
        let passed = self.waiting.first_key_value().filter(|(first, _)| **first < arrival);
        assert_eq!(passed, None, "I5: a newcomer has passed one who waits");
    }

    pub(super) fn assert_still_waits(&self, who: u32, arrival: u64) {
        assert_eq!(
            self.waiting.get(&arrival),
            Some(&who),
            "I4: one who was granted something finds nothing"
        );
    }

    /// Every connection is lent to one at a time, and counted up each time.
    pub(super) fn assert_lent_once(&mut self, held: &PooledConnection<Wire>) {
        let uses = held.inner.meta.uses;
        let twice = self.out.insert(held.inner.meta.id, uses);
        assert_eq!(twice, None, "I3: a connection is lent to two");
    }

    pub(super) fn note_return(&mut self, held: &PooledConnection<Wire>) {
        let uses = self.out.remove(&held.inner.meta.id);
        assert_eq!(uses, Some(held.inner.meta.uses), "I3: a connection changed while it was lent");
    }

    pub(super) fn assert_ready(&self, held: &PooledConnection<Wire>, now: Time) {
        let (wire, meta) = (&held.inner.conn, &held.inner.meta);
        assert_eq!(wire.phase, Phase::Ready, "I11, I8: what is lent is not ready: {held:?}");
        assert_eq!(
            wire.generation, self.generation,
            "I19: what is lent is older than the last invalidation"
        );
        if let Some(age) = self.config.pool_recycle {
            assert!(now.since(wire.opened) < age, "I11: what is lent is too old");
        }
        assert!(now < meta.expires, "I11: what is lent is past its time");
        assert_eq!(meta.uses, meta.uses.max(wire.loans), "I3: fewer uses than loans");
    }

    /// What nothing was heard of for long enough is pinged first.
    pub(super) fn assert_pinged_if_due(&self, wire: &Wire, pinged_or_new: bool, now: Time) {
        let due = self.config.pool_pre_ping && now.since(wire.heard) >= self.config.pre_ping_idle;
        // A return and an opening are a sign of life too, at that very moment.
        let fresh = now == wire.heard && wire.loans == 0;
        let idle = self.config.pre_ping_idle;
        assert!(
            !due || pinged_or_new || fresh,
            "I11: no ping is due after {idle:?} at {now:?}: {wire:?}"
        );
    }

    /// Once a connection was found broken, the others answer before they are lent.
    pub(super) fn assert_not_suspect(&self, wire: &Wire, lent: Time) {
        let (before, at) = self.suspicion;
        assert!(
            lent <= at || wire.validated >= before,
            "I11: another connection was broken, and this one is not pinged"
        );
    }

    /// A connection was found broken; others that answered since `before` are not suspected.
    pub(super) fn note_suspicion(&mut self, before: Time) {
        self.suspicion = (self.suspicion.0.max(before), self.now);
    }

    pub(super) fn assert_refused_rightly(&self, error: &PoolError, claimant: &Claimant, now: Time) {
        match error {
            PoolError::Closed => assert!(self.closed, "I6: refused as closed"),
            PoolError::TooManyWaiters { limit } => {
                assert!(!claimant.again, "I9: one who asks again is refused");
                assert!(self.waiting() >= *limit, "I20: refused although fewer wait than may");
            }
            PoolError::Connect { attempts, .. } => {
                let limit = self.config.fail_fast_after.unwrap_or(self.config.pool_timeout);
                let failing = self.failing_since.is_some_and(|since| now.since(since) >= limit);
                assert!(
                    failing && *attempts == self.failures,
                    "I20: refused although connecting does not fail for long"
                );
            }
            other => panic!("I9: refused for no reason of the ledger's: {other}"),
        }
    }

    pub(super) fn assert_failed_rightly(&self, error: &PoolError) {
        match error {
            PoolError::Closed => assert!(self.closed, "I6: failed as closed"),
            PoolError::Connect { .. } => {}
            other => panic!("I9: a waiter failed for no reason of the ledger's: {other}"),
        }
    }

    pub(super) fn note_connected(&mut self, id: ConnectionId) {
        self.created += 1;
        (self.failing_since, self.failures, self.hopeless, self.asked) = (None, 0, false, None);
        self.pause = Pause { with_demand: Time::ZERO, without_demand: Time::ZERO };
        self.last_id = self.last_id.max(Some(id));
    }

    pub(super) fn note_connect_failed(&mut self, now: Time, class: ErrorClass) {
        self.connect_failed += 1;
        self.failures += 1;
        if self.waiting() > 0 || !self.warm.is_empty() {
            self.asked = Some(now);
        }
        self.failing_since.get_or_insert(now);
        self.hopeless = class == ErrorClass::Permanent;
    }

    pub(super) fn note_pause(&mut self, now: Time, pause: Pause, not_before: Time) {
        let longest = self.config.backoff_max.max(Duration::from_millis(1));
        assert!(
            pause.with_demand.since(now) <= longest,
            "I20: the pause is longer than backoff_max"
        );
        let longest = longest.max(Duration::from_secs(5));
        assert!(
            pause.with_demand <= pause.without_demand && pause.without_demand.since(now) <= longest,
            "I20: the pause is too long"
        );
        self.pause = pause;
        assert_eq!(
            not_before,
            self.not_before(now, self.waiting()),
            "I20: another pause is reported"
        );
    }

    /// The end of the pause after a failure: the short one while somebody asks, has waited or was
    /// refused lately.
    pub(super) fn not_before(&self, now: Time, waiting: u32) -> Time {
        let lately = self.asked.is_some_and(|at| now.since(at) < Duration::from_secs(10));
        self.pause.end(lately || self.asking || waiting > 0 || !self.warm.is_empty())
    }

    pub(super) fn note_resize(&mut self, size: u32, overflow: u32) {
        (self.config.pool_size, self.config.max_overflow) = (size, overflow);
    }

    /// How many connections may be in the opening, seen from those who wait and the settings.
    pub(super) fn demand(&self, status: &Status) -> u32 {
        let floor = self.config.min_idle.unwrap_or(0);
        let warm = self.warm.iter().max().copied().unwrap_or(0);
        let renewed = if self.config.pool_recycle.is_some() { self.config.pool_size } else { 0 };
        let probe = u32::from(self.failures > 0);
        status
            .waiting
            .saturating_add(floor)
            .saturating_add(warm)
            .saturating_add(renewed)
            .saturating_add(probe)
    }
}
