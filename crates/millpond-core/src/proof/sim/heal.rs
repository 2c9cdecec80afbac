//! The end of a world: the server is healed, every caller is served, every slot is free, and a
//! close leaves nothing (I21, I6).

use super::desk;
use super::plan::Fate;
use super::users::{Kind, State};
use super::world::World;
use crate::ledger::{Job, Ledger};
use crate::rt::Time;
use std::mem;
use std::time::Duration;

/// How many events the end of a world may take.
const PATIENCE: u64 = 400_000;

impl World {
    pub(super) fn heal_and_close(&mut self) {
        self.plan.heal();
        self.the_server_is_healed();
        self.vacate_all();
        self.resume();
        let warm = mem::take(&mut self.known.warm);
        self.change(|ledger, _| warm.into_iter().for_each(|wanted| ledger.end_prewarm(wanted)));
        self.everybody_is_served();
        self.every_place_is_back();
        self.close();
    }

    /// What is under way ends well, or hangs until its limit. Callers have all the time in the
    /// world from now on.
    fn the_server_is_healed(&mut self) {
        self.deadlines = None;
        for running in self.jobs.iter_mut().filter(|running| running.fate == Fate::Permanent) {
            running.fate = Fate::Transient;
        }
        for user in &mut self.users.all {
            if let State::Validating(validation) = &mut user.state
                && validation.fate != Fate::Hangs
            {
                validation.fate = Fate::Well;
            }
        }
    }

    /// Nobody asks any more. Those who wait, and had been granted no error before, are served.
    fn everybody_is_served(&mut self) {
        let (waiting, served) = (u64::from(self.known.waiting()), self.known.served);
        for _ in 0..PATIENCE {
            if !self.somebody_is_under_way() {
                break;
            }
            self.goes_well();
        }
        assert!(
            !self.somebody_is_under_way(),
            "I21: somebody is never served: {:?}",
            self.ledger.status(self.now)
        );
        let served = self.known.served - served;
        assert!(served >= waiting, "I21: {waiting} waited, {served} were served");
    }

    /// As many as there are slots can be lent at the same time, and not one more.
    fn every_place_is_back(&mut self) {
        let everybody: Vec<u32> = self.holders();
        everybody.into_iter().for_each(|who| self.give_back(who));
        let limit = self.ledger.config().limit().min(self.plan.users);
        for _ in 0..PATIENCE {
            if self.users.count(Kind::Holding) == limit {
                break;
            }
            if self.users.count(Kind::Holding) + self.under_way() < limit {
                self.somebody_asks();
            }
            self.goes_well_for_holders();
        }
        let status = self.ledger.status(self.now);
        assert_eq!(self.users.count(Kind::Holding), limit, "I21: a slot is lost: {status:?}");
    }

    fn under_way(&self) -> u32 {
        self.users.count(Kind::Waiting) + self.users.count(Kind::Validating)
    }

    /// One event of a world in which nothing goes wrong.
    fn goes_well(&mut self) {
        if let Some(who) = self.users.draw(Kind::Holding, &mut self.dice) {
            self.give_back(who);
        }
        self.goes_well_for_holders();
    }

    fn goes_well_for_holders(&mut self) {
        if let Some(who) = self.woken.pop() {
            self.users.get(who).woken = false;
            self.look(who);
        } else if self.maintenance_awake {
            self.maintenance_turn();
        } else if let Some(who) = self.users.draw(Kind::Validating, &mut self.dice) {
            self.conclude_or_pass_time(who);
        } else if self.jobs.is_empty() {
            self.pass_time();
        } else {
            let before = self.jobs.len();
            (0..4).for_each(|_| self.a_job_ends());
            if self.jobs.len() == before {
                self.pass_time();
            }
        }
        self.check();
    }

    fn conclude_or_pass_time(&mut self, who: u32) {
        self.conclude(who);
        if matches!(self.users.get(who).state, State::Validating(_)) {
            self.pass_time();
        }
    }

    /// Time goes on, but by so little that no deadline of an acquire passes before the pool's own
    /// timers.
    fn pass_time(&mut self) {
        let next = self.next_due();
        let span =
            if next == Time::NEVER { Duration::from_millis(1) } else { next.since(self.now) };
        self.advance(span.max(Duration::from_micros(1)));
    }

    fn close(&mut self) {
        self.known.closed = true;
        self.known.suspended = false;
        assert!(!self.ledger.is_closed(), "I6: it was closed before");
        self.change(Ledger::close);
        self.change(Ledger::close);
        self.connects_end();
        self.check();
        let everybody: Vec<u32> = self.holders();
        everybody.into_iter().for_each(|who| self.give_back(who));
        for _ in 0..PATIENCE {
            let status = self.ledger.status(self.now);
            if status.open + status.connecting == 0
                && !self.maintenance_awake
                && !self.somebody_is_under_way()
            {
                break;
            }
            self.goes_well_for_holders();
        }
        let status = self.ledger.status(self.now);
        assert_eq!(
            (status.open, status.connecting, desk::alive()),
            (0, 0, 0),
            "I6: something is left: {status:?}"
        );
        assert!(!self.ledger.has_task(), "I6: the maintenance task stays");
        assert_eq!(status.totals.acquires, self.known.ended, "I17: {status:?}");
        let totals = &status.totals;
        let ended = totals.succeeded + totals.timed_out + totals.cancelled + totals.failed;
        assert_eq!(ended, self.known.ended, "I17: an end is not counted: {status:?}");
        assert_eq!(
            status.totals.succeeded, self.known.served,
            "I17: who got a connection, and who is counted: {status:?}"
        );
    }

    /// The signal of a close: what is being opened is given up.
    fn connects_end(&mut self) {
        let (connects, others): (Vec<_>, Vec<_>) = mem::take(&mut self.jobs)
            .into_iter()
            .partition(|running| matches!(running.job, Job::Connect(_)));
        self.jobs = others;
        for running in connects {
            self.give_up(running);
        }
    }
}
