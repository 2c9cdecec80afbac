//! The invariants, each with its number: the ledger is held against what the world knows
//! (`known.rs`).
//!
//! - I1 the limit, I2 the sums, I3 one borrower at a time, I4 nobody sleeps needlessly, I5 first
//!   come first served.
//! - I6 closed means closed, I7 one beginning and one end for each connection, I8 the stages of a
//!   connection's life.
//! - I9 deadlines are looked after, I10 cancelling (a step like any other), I11 nothing unfit is
//!   lent.
//! - I12 a call that panics (a fate like any other: its guard is dropped), I13 nothing is kept of
//!   who has gone.
//! - I14 nothing foreign under the lock (`desk.rs`), I15 any span of time (`plan.rs` and
//!   `time_passes`).
//! - I17 the totals, I18 the end of a runtime, I19 freshness, I20 connects follow demand, I21 all
//!   is well in the end.
//! - I22 what is wanted is looked after: a connect is under way, or the maintenance task comes by
//!   when the pause is over.
//!
//! I16, that no secret is shown, has nothing to look at here: the ledger holds none. `storm.rs` of
//! the tests checks it.

use super::desk::{self, Wire};
use super::users::Kind;
use super::world::World;
use crate::ledger::Job;
use crate::rt::Time;
use crate::{Status, Totals};
use std::mem;

impl World {
    /// Every invariant that can be seen at this moment.
    pub(super) fn check(&mut self) {
        let status = self.ledger.status(self.now);
        self.check_sums(&status);
        self.check_waiting(&status);
        self.check_looked_after(&status);
        self.known.before = status;
    }

    fn check_sums(&self, status: &Status) {
        let (known, totals) = (&self.known, &status.totals);
        let slots = |status: &Status| status.open + status.connecting + status.reserved;
        let (used, before) = (slots(status), slots(&known.before));
        assert!(
            used <= known.config.limit().max(before),
            "I1: {used} slots, limit {}: {status:?}",
            known.config.limit()
        );
        assert_eq!(
            desk::alive(),
            status.open,
            "I1, I2: connections that exist, and those counted: {status:?}"
        );
        let parts = status.idle + status.in_use + status.resetting + status.closing;
        assert_eq!(status.open, parts, "I2: {status:?}");
        let out = self.users.count(Kind::Holding) + self.users.count(Kind::Validating);
        assert!(status.in_use >= out, "I2: {out} are out: {status:?}");
        let granted = status.in_use - out;
        let reported = self.users.count(Kind::Waiting) - known.waiting();
        assert!(
            granted <= reported,
            "I4: {granted} are granted, {reported} were reported: {status:?}"
        );
        assert_eq!(status.reserved as usize, self.reserved.len(), "I2: reserved: {status:?}");
        assert_eq!(status.waiting, known.waiting(), "I2: waiters: {status:?}");
        assert_eq!(totals.created, known.created, "I7: created: {status:?}");
        assert_eq!(
            totals.created,
            totals.closed + totals.detached + u64::from(status.open),
            "I7: {status:?}"
        );
        assert_eq!(totals.detached, known.detached, "I7: detached: {status:?}");
        assert_eq!(totals.connect_failed, known.connect_failed, "I17: {status:?}");
        assert_eq!(totals.acquires, known.begun, "I17: {status:?}");
        let under_way =
            u64::from(self.users.count(Kind::Waiting) + self.users.count(Kind::Validating));
        assert_eq!(
            known.begun,
            known.ended + under_way,
            "I17, I10: an acquire was lost: {status:?}"
        );
        assert_eq!(totals.succeeded, known.served, "I17: loans, and those counted: {status:?}");
        let (before, ended) = (&known.before.totals, |totals: &Totals| {
            totals.timed_out + totals.cancelled + totals.failed
        });
        let counts = |totals: &Totals| {
            [totals.acquires, totals.succeeded, totals.created, totals.closed, ended(totals)]
        };
        let grows = counts(before).iter().zip(counts(totals)).all(|(before, now)| *before <= now);
        assert!(grows, "I17: a total has gone down: {before:?}, {totals:?}");
        assert_eq!(status.generation, known.generation, "I19: {status:?}");
        let old = self.ledger.idle().find(|held| held.inner.meta.generation < known.generation);
        assert!(old.is_none(), "I19: what is idle is older than the last invalidation: {old:?}");
        let gone = status.closed && (status.idle > 0 || status.waiting > 0);
        assert!(!gone, "I6: something is idle or waits in a closed pool: {status:?}");
    }

    fn check_waiting(&self, status: &Status) {
        if status.waiting == 0 || status.suspended {
            return;
        }
        assert_eq!(status.idle, 0, "I4: somebody waits while a connection is idle: {status:?}");
        // A quiet moment: nobody has been woken, nothing is under way, the maintenance task sleeps.
        let quiet = !self.maintenance_awake && self.jobs.is_empty() && self.woken.is_empty();
        let room = status.open + status.connecting + status.reserved < status.limit();
        let helpless = self.maintenance_sleeps_until == Time::NEVER && self.ledger.has_task();
        assert!(
            !(quiet && room && helpless),
            "I4: somebody waits for nothing while there is room: {status:?}"
        );
    }

    /// While something is wanted and there is room, somebody is about to open it: a pool that
    /// refuses callers because it fails fast has a probe, and what `min_idle` and `prewarm` want is
    /// not forgotten.
    fn check_looked_after(&self, status: &Status) {
        let known = &self.known;
        let room = status.open + status.connecting + status.reserved < status.limit();
        let idle = status.closed || status.suspended || !self.ledger.has_task() || !room;
        let (hanging, due) = self.ledger.hanging(self.now);
        assert!(
            idle || self.maintenance_awake || self.maintenance_sleeps_until <= due,
            "I22: a connect that hangs holds all up"
        );
        if idle || status.connecting > hanging || self.maintenance_awake {
            return;
        }
        let probes = self.ledger.fails_fast();
        let floor = known.config.min_idle.unwrap_or(0).min(status.pool_size);
        let spare = status.open + status.connecting + status.reserved < status.pool_size;
        let short = self.plan.keeps && spare && status.resetting == 0 && status.idle < floor;
        let warm = known.warm.iter().max().copied().unwrap_or(0).min(status.pool_size);
        let cold = self.plan.keeps && spare && status.open - status.closing < warm;
        let in_time = self.maintenance_sleeps_until
            <= known.not_before(self.now, status.waiting).max(self.now);
        assert!(
            !probes || in_time,
            "I22: callers are refused, and nobody looks for the server's return: {status:?}"
        );
        assert!(!short || in_time, "I22: nobody fills what is short of min_idle: {status:?}");
        assert!(!cold || in_time, "I22: nobody opens what prewarm wants: {status:?}");
    }

    /// After every single change: what is opened is wanted by somebody at that moment.
    pub(super) fn check_opening(&mut self) {
        let status = &self.ledger.status(self.now);
        let before = mem::replace(&mut self.known.connecting, status.connecting);
        if status.connecting <= before {
            return;
        }
        let known = &self.known;
        let (connecting, config) = (status.connecting, &known.config);
        assert!(!status.closed, "I6: opening after the close: {status:?}");
        assert!(!status.suspended, "I20: opening while suspended: {status:?}");
        let (hanging, _) = self.ledger.hanging(self.now);
        let fresh = connecting - hanging;
        assert!(
            fresh <= config.max_connecting,
            "I20: more than max_connecting at once: {status:?}"
        );
        assert!(
            known.failures == 0 || fresh <= 1,
            "I20: more than one at once while connects fail: {status:?}"
        );
        let not_before = known.not_before(self.now, status.waiting);
        assert!(
            self.now >= not_before,
            "I20: opening within the pause after a failure: {status:?}"
        );
        let demand = known.demand(status);
        assert!(fresh <= demand.max(before), "I20: opening without demand ({demand}): {status:?}");
    }

    /// After a turn of the maintenance task its jobs are all there is of them.
    pub(super) fn check_places(&self) {
        let status = self.ledger.status(self.now);
        let count = |which: fn(&Job<Wire>) -> bool| {
            self.jobs.iter().filter(|job| which(&job.job)).count() as u32
        };
        assert_eq!(
            status.connecting,
            count(|job| matches!(job, Job::Connect(_))),
            "I2: connecting: {status:?}"
        );
        let resting = count(|job| matches!(job, Job::Checkin { .. } | Job::Validate(_)));
        assert_eq!(status.resetting, resting, "I2: resting: {status:?}");
        assert_eq!(
            status.closing,
            count(|job| matches!(job, Job::Close(..))),
            "I2: closing: {status:?}"
        );
    }
}
