//! The maintenance task and its jobs against a server that fails in every way, and operations on
//! the pool as a whole.

use super::desk::{self, Bell, MAINTENANCE, Phase, Wire};
use super::job::Running;
use super::plan::Fate;
use super::users::{Kind, State};
use super::world::World;
use crate::ErrorClass;
use crate::ledger::PooledConnection;
use crate::ledger::Validation;
use crate::ledger::{Attempt, Job};
use crate::proof::paused_runtime;
use crate::rt::Time;
use crate::{CloseReason, SharedError};
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

/// The error of the simulated server.
#[derive(Debug)]
struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated server does not answer")
    }
}

impl std::error::Error for Down {}

impl World {
    /// The maintenance task comes round, takes its jobs, and goes to sleep if nothing has happened
    /// meanwhile.
    pub(super) fn maintenance_turn(&mut self) {
        self.maintenance_awake = false;
        let turn = self.change(|ledger, now| ledger.turn(now));
        self.maintenance_sleeps_until = turn.wakes_at;
        for leak in &turn.leaks {
            let limit = self.plan.config.report_after();
            assert!(limit.is_some_and(|limit| leak.held >= limit), "I9: {leak} is no leak yet");
        }
        let idle_turn = turn.jobs.is_empty() && !turn.done;
        assert!(
            !idle_turn || turn.wakes_at > self.now,
            "I20: the maintenance task would come again and again for nothing"
        );
        for job in turn.jobs {
            self.start(job);
        }
        self.check_places();
        if turn.done {
            self.maintenance_goes();
            return;
        }
        let mut waker = Some(Bell::of(MAINTENANCE).waker());
        self.maintenance_awake |= !self.change(|ledger, _| ledger.try_sleep(&mut waker));
    }

    fn start(&mut self, job: Job<Wire>) {
        let (fate, config) = (self.plan.fate(&mut self.dice, self.now), &self.plan.config);
        let limit = match &job {
            Job::Connect(_) => {
                assert!(!self.known.closed, "I6: a connection is opened after the close");
                config.connect_timeout
            }
            Job::Checkin { .. } | Job::Validate(_) | Job::Complete(_) => config.ping_timeout,
            Job::Close(..) => config.close_timeout,
        };
        let job = match job {
            Job::Complete(validation) => Job::Validate(desk::validated(validation)),
            job => job,
        };
        self.jobs.push(Running { job, fate, limit: self.now.after(limit) });
    }

    /// One of the maintenance task's jobs comes to its end, if it does not hang.
    pub(super) fn a_job_ends(&mut self) {
        if self.jobs.is_empty() {
            return;
        }
        let at = self.dice.usize(0..self.jobs.len());
        let Some(running) = self.jobs.get(at) else { return };
        if running.fate == Fate::Hangs && self.now < running.limit {
            return;
        }
        let Running { job, fate, limit } = self.jobs.swap_remove(at);
        self.faults += u64::from(fate != Fate::Well);
        match job {
            Job::Connect(attempt) => {
                let began = limit.before(self.plan.config.connect_timeout);
                self.connect_ends(&attempt, fate, self.now.since(began));
            }
            Job::Checkin { held, .. } => self.rest_ends(held, fate, CloseReason::ResetFailed),
            Job::Validate(held) => {
                self.rest_ends(held, fate, CloseReason::PingFailed);
                if fate == Fate::Failover {
                    self.invalidate(false);
                }
            }
            Job::Complete(validation) => self.cut_off(validation),
            Job::Close(held, reason) => self.close_ends(held, reason),
        }
    }

    fn connect_ends(&mut self, attempt: &Attempt, fate: Fate, took: Duration) {
        let class = match fate {
            Fate::Well => {
                if attempt.first {
                    self.change(|ledger, _| ledger.first_connect_done());
                }
                let wire = Wire::open(attempt.generation, self.now);
                self.known.note_connected(attempt.id);
                self.change(|ledger, now| ledger.connected(wire, attempt, took, now));
                return;
            }
            Fate::Cut => return self.change(|ledger, now| ledger.free(attempt.slot, now)),
            Fate::Permanent => ErrorClass::Permanent,
            Fate::Failover => ErrorClass::Failover,
            Fate::Transient | Fate::Hangs => ErrorClass::Transient,
        };
        let error: SharedError = Arc::new(Down);
        let now = self.now;
        self.known.note_connect_failed(now, class);
        self.change(|ledger, now| ledger.connect_failed(attempt, &error, class, now));
        self.known.note_pause(now, self.ledger.pause(), self.ledger.not_before(now));
        if class == ErrorClass::Failover {
            self.invalidate(false);
        }
    }

    fn rest_ends(&mut self, mut held: PooledConnection<Wire>, fate: Fate, reason: CloseReason) {
        let began = self.ledger.slots().since(held.inner.meta.slot);
        if fate == Fate::Well {
            held.inner.conn.validated = self.now;
            // A ping refreshes what was idle; a reset comes right after a return.
            if reason == CloseReason::PingFailed {
                (held.inner.meta.validated_at, held.inner.conn.heard) = (self.now, self.now);
            }
            held.inner.conn.phase = Phase::Ready;
            self.change(|ledger, now| ledger.settle_checked(held, now));
        } else {
            held.inner.conn.phase = Phase::Doomed;
            let reason = if fate == Fate::Cut { CloseReason::Interrupted } else { reason };
            self.change(|ledger, now| ledger.retire(held, reason, now));
            if reason != CloseReason::Interrupted {
                self.suspect(began);
            }
        }
    }

    /// A connection was found broken.
    pub(super) fn suspect(&mut self, before: Time) {
        self.known.note_suspicion(before);
        self.change(|ledger, now| ledger.mark_suspect(before, now));
    }

    pub(super) fn close_ends(&mut self, held: PooledConnection<Wire>, reason: CloseReason) {
        let meta = held.inner.meta;
        drop(held);
        self.change(|ledger, now| ledger.connection_closed(&meta, reason, None, now));
    }

    /// Somebody changes the pool as a whole.
    pub(super) fn meddle(&mut self) {
        match self.dice.u32(0..21) {
            0..4 => self.resize(),
            4..6 => self.invalidate(false),
            6..8 => self.invalidate(true),
            8..10 => self.suspend(),
            10..15 => self.resume(),
            15..17 => self.prewarm(),
            17 => self.home_ends(),
            18 => self.everybody_comes(),
            19 => self.reserve_or_vacate(),
            _ => {
                self.change(|ledger, now| ledger.validate_idle(ledger.config().pre_ping_idle, now))
            }
        }
    }

    fn resize(&mut self) {
        let most = if self.dice.u32(0..6) == 0 { 30 } else { 6 };
        let (size, overflow) = (self.dice.u32(1..=most), self.dice.u32(0..=most));
        // What is opened at once is wanted by the new sizes.
        self.known.note_resize(size, overflow);
        self.change(|ledger, now| ledger.resize(size, overflow, now));
    }

    pub(super) fn invalidate(&mut self, hard: bool) {
        self.known.generation += 1;
        let generation = self.change(|ledger, now| ledger.invalidate_all(hard, now));
        assert_eq!(generation, self.known.generation, "I19: the generation is not counted on");
        // What is being opened is given up, unless it ends at that very moment.
        for running in mem::take(&mut self.jobs) {
            match &running.job {
                Job::Connect(attempt)
                    if attempt.generation < generation && self.dice.u32(0..4) > 0 =>
                {
                    self.give_up(running);
                }
                _ => self.jobs.push(running),
            }
        }
    }

    fn suspend(&mut self) {
        self.known.suspended = true;
        self.change(|ledger, now| ledger.suspend(now));
    }

    pub(super) fn resume(&mut self) {
        self.known.suspended = false;
        self.change(|ledger, now| ledger.resume(now));
    }

    fn prewarm(&mut self) {
        let wanted = self.dice.u32(0..=self.plan.config.pool_size);
        let warms = self.plan.keeps && self.known.warm.len() < 2;
        if warms {
            self.known.warm.push(wanted);
            self.change(|ledger, now| {
                ledger.begin_prewarm(wanted, now);
            });
        } else {
            let warm = mem::take(&mut self.known.warm);
            self.change(|ledger, _| warm.into_iter().for_each(|wanted| ledger.end_prewarm(wanted)));
        }
    }

    /// A slot is taken for a connection past the pool, or one is given back.
    fn reserve_or_vacate(&mut self) {
        match self.reserved.pop() {
            Some(slot) => self.change(|ledger, now| ledger.free(slot, now)),
            None => {
                let slot = self.change(|ledger, now| ledger.reserve(now));
                assert!(
                    slot.is_none() || !self.known.suspended,
                    "I20: a slot is reserved while suspended"
                );
                self.reserved.extend(slot);
            }
        }
    }

    pub(super) fn vacate_all(&mut self) {
        while let Some(slot) = self.reserved.pop() {
            self.change(|ledger, now| ledger.free(slot, now));
        }
    }

    /// A whole crowd asks at once.
    fn everybody_comes(&mut self) {
        for _ in 0..self.users.count(Kind::Away).min(200) {
            self.somebody_asks();
        }
    }

    /// The runtime of the pool ends: its jobs are dropped wherever they are, and its maintenance
    /// task too.
    fn home_ends(&mut self) {
        if !self.ledger.has_task() {
            return;
        }
        self.faults += 1;
        let maintenance_first = self.dice.bool();
        if maintenance_first {
            self.maintenance_goes();
        }
        mem::take(&mut self.jobs).into_iter().for_each(|running| self.give_up(running));
        if !maintenance_first {
            self.maintenance_goes();
        }
    }

    /// A job is dropped half way.
    pub(super) fn give_up(&mut self, running: Running) {
        match running.job {
            Job::Connect(attempt) => self.change(|ledger, now| ledger.free(attempt.slot, now)),
            Job::Checkin { held, .. } | Job::Validate(held) => {
                self.rest_ends(held, Fate::Cut, CloseReason::Interrupted)
            }
            Job::Complete(validation) => self.cut_off(validation),
            Job::Close(held, reason) => self.close_ends(held, reason),
        }
    }

    /// A validation is dropped half way.
    pub(super) fn cut_off(&mut self, validation: Validation<Wire>) {
        let mut held = desk::validated(validation);
        held.inner.conn.phase = Phase::Doomed;
        self.change(|ledger, now| ledger.retire(held, CloseReason::Interrupted, now));
    }

    pub(super) fn maintenance_goes(&mut self) {
        self.known.alarm = true;
        self.known.generation += 1;
        let maintenance = self.change(|ledger, now| ledger.maintenance_ended(now));
        drop(maintenance);
        self.known.alarm = false;
        (self.maintenance_awake, self.maintenance_sleeps_until) = (false, Time::NEVER);
        // The next acquire brings a new runtime, as `engine/checkout.rs` has it.
        if self.users.count(Kind::Waiting) > 0 && !self.known.closed {
            self.maintenance_comes();
        }
    }

    pub(super) fn maintenance_comes(&mut self) {
        let home = paused_runtime().handle().clone();
        self.change(|ledger, now| ledger.maintenance_starts(home, now));
        self.maintenance_awake = true;
    }

    /// All that are out.
    pub(super) fn holders(&self) -> Vec<u32> {
        self.users.list(Kind::Holding).to_vec()
    }

    /// Whether somebody is in the middle of an acquire.
    pub(super) fn somebody_is_under_way(&self) -> bool {
        self.users
            .all
            .iter()
            .any(|user| matches!(user.state, State::Waiting(..) | State::Validating(_)))
    }
}
