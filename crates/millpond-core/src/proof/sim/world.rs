//! One pool and everybody around it: the ledger, its users, the maintenance task's jobs, and the
//! next thing that happens.

use super::desk::{self, MAINTENANCE, Wire};
use super::job::Running;
use super::known::Known;
use super::plan::{Fate, Plan};
use super::users::{Kind, State, Users};
use crate::ledger::TimersSet;
use crate::ledger::{Effect, Ledger, PoolTraits, Validation};
use crate::rt::Time;
use crate::rt::deadline_thread::TIMER_AFTER;
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// What a world went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) steps: u64,
    pub(super) faults: u64,
    /// Something that depends on everything that happened.
    pub(super) digest: u64,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) ledger: Ledger<Wire>,
    pub(super) now: Time,
    pub(super) dice: Rng,
    pub(super) plan: Plan,
    pub(super) users: Users,
    /// Those who were woken and have not come yet.
    pub(super) woken: Vec<u32>,
    pub(super) jobs: Vec<Running>,
    /// Slots taken for connections that are not the pool's.
    pub(super) reserved: Vec<u32>,
    pub(super) maintenance_awake: bool,
    pub(super) maintenance_sleeps_until: Time,
    /// When the watch makes its next round, if it looks after this pool.
    pub(super) watch: Option<Time>,
    /// Whether the last one who came had to wait: then the fast path is not tried.
    pub(super) contended: bool,
    /// `None` once everybody has all the time in the world.
    pub(super) deadlines: Option<BinaryHeap<Reverse<(Time, u32)>>>,
    pub(super) known: Known,
    pub(super) steps: u64,
    /// Changes of the ledger, and times at which the clock went on.
    events: u64,
    pub(super) faults: u64,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        desk::clear();
        let mut dice = Rng::with_seed(seed);
        let plan = Plan::draw(&mut dice);
        let traits = PoolTraits {
            name: Arc::from("simulated"),
            kind: "QueuePool",
            keeps: plan.keeps,
            first_connect_hooks: plan.first_connect_hooks,
            checkout_hooks: plan.checkout_hooks,
            checkin_hooks: plan.checkin_hooks,
        };
        let mut ledger = Ledger::new(plan.config.clone(), traits, dice.u64(..));
        ledger.update_fast_paths();
        Self {
            ledger,
            now: Time::ZERO,
            users: Users::new(plan.users),
            woken: Vec::new(),
            jobs: Vec::new(),
            reserved: Vec::new(),
            maintenance_awake: false,
            maintenance_sleeps_until: Time::NEVER,
            watch: None,
            contended: false,
            deadlines: Some(BinaryHeap::new()),
            known: Known::new(&plan),
            steps: 0,
            events: 0,
            faults: 0,
            plan,
            dice,
        }
    }

    /// Lives for so many steps, then heals and ends.
    pub(super) fn live(mut self, steps: u64) -> Life {
        while self.steps < steps {
            self.step();
        }
        self.heal_and_close();
        Life {
            steps: self.steps,
            faults: self.faults,
            digest: self.now.nanos_since(Time::ZERO) ^ self.dice.u64(..),
        }
    }

    /// One event, and the invariants after it. What changes nothing is none.
    pub(super) fn step(&mut self) {
        let before = self.events;
        self.steps += 1;
        while self.events == before {
            self.something_happens();
        }
        self.check();
    }

    fn something_happens(&mut self) {
        if self.dice.u32(0..1_000) < self.plan.meddling {
            self.meddle();
        } else {
            let rush = self.plan.rush;
            match self.dice.u32(0..100) {
                n if n < rush => self.somebody_asks(),
                n if n < 60 => self.somebody_goes_on(),
                60..75 => self.a_job_ends(),
                75..85 if self.maintenance_awake => self.maintenance_turn(),
                75..85 => self.a_job_ends(),
                85..90 => self.somebody_loses_patience(),
                _ => self.time_passes(),
            }
        }
    }

    /// Changes the ledger as under its lock, and does what follows.
    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut Ledger<Wire>, Time) -> R) -> R {
        self.events += 1;
        let wakers = self.users.wakers();
        desk::set_locked(true);
        let result = change(&mut self.ledger, self.now);
        desk::set_locked(false);
        assert_eq!(
            self.users.wakers(),
            wakers,
            "I14: a waker was cloned or dropped under the lock"
        );
        self.check_opening();
        self.follow();
        result
    }

    pub(super) fn follow(&mut self) {
        let effects = self.ledger.take_effects().unwrap_or_default();
        let (mut dropped, mut cut_off) = (Vec::new(), Vec::new());
        for effect in effects.in_order() {
            match effect {
                Effect::Wake(waker) => waker.wake(),
                Effect::Drop(held, reason) => dropped.push((held, reason)),
                Effect::Discard(value) => cut_off.extend(value.downcast::<Validation<Wire>>()),
                Effect::Changed(_) | Effect::Report(..) => {}
            }
        }
        let woken = desk::woken();
        if !self.known.alarm {
            self.note_silent_grants(&woken);
        }
        for who in woken {
            self.hear(who);
        }
        cut_off.into_iter().for_each(|validation| self.cut_off(*validation));
        for (held, reason) in dropped {
            self.close_ends(held, reason);
        }
    }

    /// Those who had been woken before and have not looked yet are not woken again when they are
    /// granted something.
    fn note_silent_grants(&mut self, woken: &[u32]) {
        let first = self.ledger.first_arrival().unwrap_or(u64::MAX);
        for who in self.known.served_before(first) {
            if !woken.contains(&who) {
                assert!(
                    self.users.get(who).woken,
                    "I4: somebody was granted a connection and not woken"
                );
                self.known.note_grant(who, true);
                self.users.get(who).granted = Some(self.now);
            }
        }
    }

    /// Somebody's waker was called.
    fn hear(&mut self, who: u32) {
        if who == MAINTENANCE {
            self.maintenance_awake = true;
            return;
        }
        if !mem::replace(&mut self.users.get(who).woken, true) {
            self.woken.push(who);
        }
        if !self.known.alarm && self.known.note_grant(who, false) {
            self.users.get(who).granted = Some(self.now);
        }
    }

    /// Time goes on, by a little or by a lot; deadlines, the watch and the maintenance task's timer
    /// ring.
    pub(super) fn time_passes(&mut self) {
        let span = match self.dice.u32(0..100) {
            0..50 => Duration::from_micros(self.dice.u64(0..1_000)),
            50..85 => Duration::from_micros(self.dice.u64(0..20_000)),
            85..99 => self.next_due().since(self.now).min(Duration::from_secs(60)),
            _ => Duration::from_millis(self.dice.u64(0..10_000)),
        };
        self.advance(span);
    }

    /// When something falls due next.
    pub(super) fn next_due(&self) -> Time {
        let deadline = self
            .deadlines
            .as_ref()
            .and_then(BinaryHeap::peek)
            .map_or(Time::NEVER, |Reverse((at, _))| *at);
        let jobs =
            self.jobs.iter().filter(|job| job.fate == Fate::Hangs).map(|job| job.limit).min();
        let maintenance = self.maintenance_sleeps_until;
        deadline
            .min(jobs.unwrap_or(Time::NEVER))
            .min(maintenance)
            .min(self.watch.unwrap_or(Time::NEVER))
    }

    pub(super) fn advance(&mut self, span: Duration) {
        self.events += 1;
        self.now = self.now.after(span);
        self.known.now = self.now;
        if self.now >= self.maintenance_sleeps_until {
            self.maintenance_awake = true;
        }
        if self.watch.is_some_and(|at| at <= self.now) {
            self.watch_round();
        }
        while let Some((deadline, who)) = self.deadline_reached() {
            self.deadline_of(who, deadline);
        }
    }

    fn deadline_reached(&mut self) -> Option<(Time, u32)> {
        let deadlines = self.deadlines.as_mut()?;
        let Reverse((deadline, who)) = deadlines.peek().copied()?;
        (deadline <= self.now).then(|| deadlines.pop())?;
        Some((deadline, who))
    }

    fn watch_round(&mut self) {
        self.known.alarm = true;
        let latest = self.now.before(TIMER_AFTER);
        let goes_on = loop {
            match self.change(|ledger, now| ledger.set_timers(latest, now)) {
                TimersSet::All => break false,
                TimersSet::Due => break true,
                TimersSet::Enough => {}
            }
        };
        self.known.alarm = false;
        self.watch = goes_on.then(|| self.now.after(TIMER_AFTER));
        for index in 0..self.users.list(Kind::Waiting).len() {
            let who = self.users.list(Kind::Waiting)[index];
            let user = self.users.get(who);
            let State::Waiting(_, claimant) = &user.state else { continue };
            user.has_timer |= user.woken;
            let in_time =
                user.has_timer || user.granted.is_some() || (claimant.since > latest && goes_on);
            assert!(
                in_time,
                "I9: the watch has gone by one who does not look after its own deadline"
            );
        }
    }
}
