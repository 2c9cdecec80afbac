//! What callers do: ask, wait, look, get, give up. It does with the ledger what
//! `engine/checkout.rs` does with it.

use super::desk::{self, Phase, Wire};
use super::plan::Fate;
use super::users::{Kind, State, Trip, Validation};
use super::world::World;
use crate::error::PoolError;
use crate::event::CloseReason;
use crate::ledger::Caller;
use crate::ledger::Grant;
use crate::ledger::{Claim, Claimant, RECENT_PING};
use crate::ledger::{LeaseMeta, PooledConnection};
use crate::ledger::{Polled, Ticket};
use crate::rt::Time;
use crate::rt::deadline_thread::TIMER_AFTER;
use std::cmp::Reverse;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl World {
    pub(super) fn somebody_asks(&mut self) {
        let Some(who) = self.users.draw(Kind::Away, &mut self.dice) else {
            return self.somebody_goes_on();
        };
        let caller = Caller { location: Location::caller(), label: None, task: None };
        if !self.plan.checkout_hooks && self.asks_plainly(who, caller) {
            return;
        }
        let has_timer = self.plan.has_timer;
        let claimant = self.change(|ledger, now| Claimant {
            caller,
            arrival: ledger.arrive(),
            since: now,
            again: false,
            has_timer,
        });
        self.known.begun += 1;
        let trip = self.trip(who, claimant);
        self.claim(who, trip);
    }

    /// The ways to ask that need nothing to be considered. `false`: something is.
    fn asks_plainly(&mut self, who: u32, caller: Caller) -> bool {
        let tries = self.dice.u32(0..20) == 0;
        let held = if tries {
            self.change(|ledger, now| ledger.try_claim(caller, now))
        } else if !self.contended || !self.plan.has_timer {
            self.change(|ledger, now| ledger.take_fresh(caller, now))
        } else {
            None
        };
        if let Some(held) = held {
            self.contended = false;
            self.known.assert_nobody_passed(u64::MAX);
            self.known.assert_not_suspect(&held.inner.conn, self.now);
            self.known.begun += 1;
            // To who tries, the maintenance task's last validation counts for a while as this
            // checkout's.
            let validated = tries && self.now.since(held.inner.conn.heard) < RECENT_PING;
            self.lend(who, held, validated);
            return true;
        }
        if tries || !self.contended || self.plan.has_timer {
            return tries;
        }
        let mut waker = Some(self.users.get(who).bell.waker());
        let joined = self.change(|ledger, now| ledger.join_fresh(caller, &mut waker, now));
        let Some((ticket, arrival)) = joined else { return false };
        let claimant =
            Claimant { caller, arrival, since: self.now, again: false, has_timer: false };
        self.known.begun += 1;
        let trip = self.trip(who, claimant);
        self.wait(who, ticket, trip, false);
        true
    }

    /// A trip with a deadline of its own.
    fn trip(&mut self, who: u32, claimant: Claimant) -> Trip {
        let limit = self.plan.config.pool_timeout.mul_f64(self.dice.f64());
        let trip = Trip { claimant, deadline: self.now.after(limit) };
        self.deadlines
            .iter_mut()
            .for_each(|deadlines| deadlines.push(Reverse((trip.deadline, who))));
        trip
    }

    /// Asks the ledger, with the arrival number of the trip.
    fn claim(&mut self, who: u32, trip: Trip) {
        // Now and then another task polls than before.
        if self.dice.u32(0..8) == 0 {
            self.users.get(who).bell = desk::Bell::of(who);
        }
        let mut waker = Some(self.users.get(who).bell.waker());
        let answer = self.change(|ledger, now| ledger.claim(trip.claimant, &mut waker, now));
        drop(waker);
        match answer {
            Claim::Idle(held) => {
                self.contended = false;
                self.known.assert_nobody_passed(trip.claimant.arrival);
                self.inspect(who, held, trip, None);
            }
            Claim::Wait { ticket, register } => self.wait(who, ticket, trip, register),
            Claim::NeedsMaintenance => {
                self.maintenance_comes();
                self.claim(who, trip);
            }
            Claim::Failed(error) => {
                self.known.assert_refused_rightly(&error, &trip, self.now);
                if matches!(error, PoolError::Connect { .. }) {
                    self.known.asked = Some(self.now);
                    self.change(|ledger, now| ledger.refusal_delay(error, now));
                }
                self.known.ended += 1;
            }
        }
    }

    fn wait(&mut self, who: u32, ticket: Ticket<Grant<Wire>>, trip: Trip, register: bool) {
        self.contended = true;
        self.known.note_wait(who, trip.claimant.arrival);
        if register {
            self.watch = Some(self.now.after(TIMER_AFTER));
        }
        let user = self.users.get(who);
        (user.granted, user.has_timer) = (None, trip.claimant.has_timer);
        self.users.put(who, State::Waiting(ticket, trip));
    }

    /// What comes with a grant is taken, unless it has gone out of date since.
    fn receive(
        &mut self,
        who: u32,
        mut held: PooledConnection<Wire>,
        mut trip: Trip,
        granted: Option<Time>,
    ) {
        if self.ledger.unfit(&held.inner.meta, self.now).is_some() {
            held.inner.conn.phase = Phase::Doomed;
        }
        if let Some(held) = self.change(|ledger, now| ledger.accept(held, now)) {
            return self.inspect(who, held, trip, granted);
        }
        trip.claimant.again = true;
        self.claim(who, trip);
    }

    /// Lends a connection for which nothing is due, or has it validated.
    fn inspect(
        &mut self,
        who: u32,
        mut held: PooledConnection<Wire>,
        trip: Trip,
        granted: Option<Time>,
    ) {
        let opened_for_this = opened_for(&held, granted);
        let ping = self.ledger.must_ping(&held.inner.meta, self.now);
        self.known.assert_pinged_if_due(&held.inner.conn, ping || opened_for_this, self.now);
        if !ping {
            self.known.assert_not_suspect(&held.inner.conn, granted.unwrap_or(self.now));
        }
        if !ping && !self.plan.checkout_hooks {
            self.change(|ledger, now| ledger.count_loan(trip.claimant.since, now));
            return self.lend(who, held, opened_for_this);
        }
        self.known.assert_ready(&held, self.now);
        held.inner.conn.phase = Phase::Out;
        let limit = self.plan.config.ping_timeout;
        let fate = self.plan.fate(&mut self.dice, self.now);
        let validation = Validation { held, trip, fate, ping, ends: self.now.after(limit) };
        self.users.put(who, State::Validating(Box::new(validation)));
    }

    fn lend(&mut self, who: u32, mut held: PooledConnection<Wire>, known_to_live: bool) {
        self.known.assert_ready(&held, self.now);
        self.known.assert_pinged_if_due(&held.inner.conn, known_to_live, self.now);
        self.hand_over(who, &mut held);
        self.users.put(who, State::Holding(held));
    }

    fn hand_over(&mut self, who: u32, held: &mut PooledConnection<Wire>) {
        held.inner.conn.phase = Phase::Out;
        held.inner.conn.loans += 1;
        self.known.assert_lent_once(held);
        self.known.ended += 1;
        self.known.served += 1;
        self.forget_waker(who);
    }

    /// One who does not wait has no waker with the ledger (I13).
    pub(super) fn forget_waker(&mut self, who: u32) {
        let bell = &self.users.get(who).bell;
        assert_eq!(Arc::strong_count(bell), 1, "I13: the waker of one who does not wait is kept");
    }

    /// Somebody who was woken comes, or a borrower or a validation goes on.
    pub(super) fn somebody_goes_on(&mut self) {
        match self.dice.u32(0..10) {
            0..5 if !self.woken.is_empty() => self.the_woken_come(),
            5..9 => match self.users.draw(Kind::Holding, &mut self.dice) {
                Some(who) => self.give_back(who),
                None => self.the_woken_come(),
            },
            9 => match self.users.draw(Kind::Waiting, &mut self.dice) {
                Some(who) => self.look(who),
                None => self.the_woken_come(),
            },
            _ => match self.users.draw(Kind::Validating, &mut self.dice) {
                Some(who) => self.conclude(who),
                None => self.the_woken_come(),
            },
        }
    }

    fn the_woken_come(&mut self) {
        if self.woken.is_empty() {
            if let Some(who) = self.users.draw(Kind::Validating, &mut self.dice) {
                self.conclude(who);
            }
            return;
        }
        let at = self.dice.usize(0..self.woken.len());
        let who = self.woken.swap_remove(at);
        self.users.get(who).woken = false;
        self.look(who);
    }

    /// A waiter looks whether its turn has come.
    pub(super) fn look(&mut self, who: u32) {
        if !matches!(self.users.get(who).state, State::Waiting(..)) {
            return;
        }
        let State::Waiting(ticket, trip) = self.users.take(who) else { return };
        if let Some(mut held) = self.take_from_cell(&ticket) {
            held.inner.cell = Some(ticket.cell);
            self.ledger.unlocked().taken_unlocked.fetch_add(1, Ordering::Relaxed);
            let granted = self.users.get(who).granted.take();
            assert!(granted.is_some(), "I4: somebody was granted a connection and not woken");
            self.known.assert_not_suspect(&held.inner.conn, granted.unwrap_or(self.now));
            return self.lend(who, held, false);
        }
        if self.dice.u32(0..8) == 0 {
            self.users.get(who).bell = desk::Bell::of(who);
        }
        let mut waker = Some(self.users.get(who).bell.waker());
        let look = self.change(|ledger, _| ledger.poll(ticket, &mut waker));
        drop(waker);
        match look {
            Polled::Granted(grant) => self.take_grant(who, grant, trip),
            Polled::Waiting(ticket) => {
                self.known.assert_still_waits(who, trip.claimant.arrival);
                self.users.put(who, State::Waiting(ticket, trip));
            }
        }
    }

    /// What may be lent as it is, without the ledger's lock.
    fn take_from_cell(&self, ticket: &Ticket<Grant<Wire>>) -> Option<PooledConnection<Wire>> {
        let (lendable, ping_after) = (
            self.ledger.unlocked().lendable.load(Ordering::Relaxed),
            self.ledger.config().ping_after(),
        );
        let fresh = |meta: &LeaseMeta| meta.is_fresh(lendable, ping_after, self.now);
        let fresh = |granted: &Grant<Wire>| match granted {
            Grant::Ready(held) => !self.plan.checkout_hooks && fresh(&held.inner.meta),
            Grant::NeedsCheck(_) | Grant::Refusal(_) => false,
        };
        match ticket.cell.take_if(fresh)? {
            Grant::Ready(held) => Some(held),
            Grant::NeedsCheck(_) | Grant::Refusal(_) => None,
        }
    }

    fn take_grant(&mut self, who: u32, grant: Grant<Wire>, trip: Trip) {
        let granted = self.users.get(who).granted.take();
        assert!(granted.is_some(), "I4: somebody was granted a connection and not woken");
        match grant {
            Grant::Ready(held) | Grant::NeedsCheck(held) => self.receive(who, held, trip, granted),
            Grant::Refusal(error) => {
                self.known.assert_failed_rightly(&error);
                self.known.ended += 1;
                self.forget_waker(who);
            }
        }
    }

    /// A validation ends.
    pub(super) fn conclude(&mut self, who: u32) {
        let State::Validating(validation) = self.users.take(who) else { return };
        if validation.fate == Fate::Hangs && self.now < validation.ends {
            self.users.put(who, State::Validating(validation));
            return;
        }
        let Validation { mut held, mut trip, fate, ping, .. } = *validation;
        if fate == Fate::Well {
            if ping {
                (held.inner.meta.validated_at, held.inner.conn.heard) = (self.now, self.now);
                held.inner.conn.validated = self.now;
            }
            if self.ledger.unfit(&held.inner.meta, self.now).is_some() {
                held.inner.conn.phase = Phase::Doomed;
            }
            let Some(fit) = self.change(|ledger, now| ledger.still_fit(held, now)) else {
                trip.claimant.again = true;
                return self.claim(who, trip);
            };
            held = fit;
            self.change(|ledger, now| ledger.count_loan(trip.claimant.since, now));
            self.hand_over(who, &mut held);
            self.users.put(who, State::Holding(held));
            return;
        }
        self.faults += 1;
        if fate == Fate::Cut {
            return self.abandon(who, held);
        }
        held.inner.conn.phase = Phase::Doomed;
        if fate == Fate::Failover {
            self.invalidate(false);
        }
        self.change(|ledger, now| ledger.retire(held, CloseReason::PingFailed, now));
        if ping {
            self.suspect(self.now);
        }
        trip.claimant.again = true;
        self.claim(who, trip);
    }

    /// The caller goes away while its connection is validated: the maintenance task sees that
    /// through, if there is one.
    fn abandon(&mut self, who: u32, held: PooledConnection<Wire>) {
        let validation = desk::validation(held, self.plan.config.ping_timeout);
        let cut = self.change(|ledger, now| ledger.take_over(validation, now));
        cut.into_iter().for_each(|validation| self.cut_off(validation));
        self.known.ended += 1;
        self.forget_waker(who);
    }

    /// The caller goes away, wherever it is.
    pub(super) fn somebody_loses_patience(&mut self) {
        if self.dice.u32(0..100) >= self.plan.impatience {
            return self.the_woken_come();
        }
        let kind = if self.dice.u32(0..4) == 0 { Kind::Validating } else { Kind::Waiting };
        let Some(who) = self.users.draw(kind, &mut self.dice) else { return };
        self.faults += 1;
        match self.users.take(who) {
            State::Waiting(ticket, trip) => self.leave(who, ticket, trip),
            State::Validating(validation) => self.abandon(who, validation.held),
            State::Away | State::Holding(_) => {}
        }
    }

    fn leave(&mut self, who: u32, ticket: Ticket<Grant<Wire>>, trip: Trip) {
        self.known.note_leave(trip.claimant.arrival);
        self.users.get(who).granted = None;
        let waker = self.change(|ledger, now| ledger.leave(ticket, now));
        drop(waker);
        self.known.ended += 1;
        self.forget_waker(who);
    }

    /// The deadline of an acquire: if it is still under way, it ends now.
    pub(super) fn deadline_of(&mut self, who: u32, deadline: Time) {
        let trip = match &self.users.get(who).state {
            State::Waiting(_, trip) => *trip,
            State::Validating(validation) => validation.trip,
            State::Away | State::Holding(_) => return,
        };
        if trip.deadline != deadline {
            return;
        }
        let ticket = match self.users.take(who) {
            State::Waiting(ticket, _) => ticket,
            State::Validating(validation) => return self.abandon(who, validation.held),
            State::Away | State::Holding(_) => return,
        };
        match self.change(|ledger, _| ledger.poll(ticket, &mut None)) {
            Polled::Granted(grant) => self.take_grant(who, grant, trip),
            Polled::Waiting(ticket) => self.leave(who, ticket, trip),
        }
    }
}

/// Whether a connection was opened for the one to whom it was granted at that moment.
fn opened_for(held: &PooledConnection<Wire>, granted: Option<Time>) -> bool {
    let wire = &held.inner.conn;
    wire.loans == 0 && granted == Some(wire.opened)
}
