//! What callers do: ask, wait, look, get, give up. It does with the ledger what
//! `engine/checkout.rs` does with it.

use super::desk::{self, Phase, Wire};
use super::plan::Fate;
use super::users::{Kind, State, Validation};
use super::world::World;
use crate::CloseReason;
use crate::ledger::{
    Answer, Caller, Claimant, Grant, LeaseMeta, Ledger, PooledConnection, RECENT_PING, Ticket,
};
use crate::rt::Time;
use crate::rt::deadline_thread::TIMER_AFTER;
use std::cmp::Reverse;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

impl World {
    pub(super) fn somebody_asks(&mut self) {
        let Some(who) = self.users.draw(Kind::Away, &mut self.dice) else {
            return self.somebody_goes_on();
        };
        let caller = Caller { location: Location::caller(), label: None, task: None };
        let limit = self.plan.config.pool_timeout.mul_f64(self.dice.f64());
        let mut claimant =
            Claimant::new(caller, limit.max(Duration::from_nanos(1)), self.plan.has_timer);
        if !self.plan.checkout_hooks && self.asks_plainly(who, &mut claimant) {
            return;
        }
        self.known.begun += 1;
        self.ask(who, claimant, Ledger::begin);
    }

    /// The ways to ask that need nothing to be considered. `false`: something is.
    fn asks_plainly(&mut self, who: u32, claimant: &mut Claimant) -> bool {
        let (tries, caller) = (self.dice.u32(0..20) == 0, claimant.caller);
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
        let joined = self.change(|ledger, now| ledger.join_fresh(claimant, &mut waker, now));
        let Some(ticket) = joined else { return false };
        self.known.begun += 1;
        self.note_deadline(who, claimant);
        self.wait(who, ticket, *claimant, false);
        true
    }

    fn note_deadline(&mut self, who: u32, claimant: &Claimant) {
        self.deadlines
            .iter_mut()
            .for_each(|deadlines| deadlines.push(Reverse((claimant.deadline, who))));
    }

    /// Asks the ledger, for the first time or again.
    fn ask(
        &mut self,
        who: u32,
        mut claimant: Claimant,
        how: fn(&mut Ledger<Wire>, &mut Claimant, &mut Option<Waker>, Time) -> Answer<Wire>,
    ) {
        // Now and then another task polls than before.
        if self.dice.u32(0..8) == 0 {
            self.users.get(who).bell = desk::Bell::of(who);
        }
        let is_first = claimant.arrival == 0;
        let mut waker = Some(self.users.get(who).bell.waker());
        self.known.asking = true;
        let answer = self.change(|ledger, now| how(ledger, &mut claimant, &mut waker, now));
        self.known.asking = false;
        drop(waker);
        if is_first {
            self.note_deadline(who, &claimant);
        }
        match &answer {
            Answer::Lent(_) | Answer::Validate(..) => {
                self.contended = false;
                self.known.assert_nobody_passed(claimant.arrival);
            }
            Answer::Failed(error) => {
                self.known.assert_refused_rightly(error, &claimant, self.now);
            }
            _ => {}
        }
        self.follow_answer(who, answer, claimant, None);
    }

    /// What follows for a caller; `granted` is when a waiter was granted something.
    fn follow_answer(
        &mut self,
        who: u32,
        answer: Answer<Wire>,
        claimant: Claimant,
        granted: Option<Time>,
    ) {
        match answer {
            Answer::Lent(held) => {
                let opened_for_this = opened_for(&held, granted);
                self.known.assert_not_suspect(&held.inner.conn, granted.unwrap_or(self.now));
                self.lend(who, held, opened_for_this);
            }
            Answer::Validate(held, phase) => {
                let ping = phase == crate::Phase::Ping;
                let opened_for_this = opened_for(&held, granted);
                self.known.assert_pinged_if_due(
                    &held.inner.conn,
                    ping || opened_for_this,
                    self.now,
                );
                if !ping {
                    self.known.assert_not_suspect(&held.inner.conn, granted.unwrap_or(self.now));
                }
                self.validate(who, held, claimant, ping);
            }
            Answer::Queued { ticket, register } => self.wait(who, ticket, claimant, register),
            Answer::NeedsMaintenance => {
                self.maintenance_comes();
                self.ask(who, claimant, Ledger::claim);
            }
            Answer::AskAgain => self.ask(who, claimant, Ledger::claim),
            Answer::Refused(until) => {
                assert!(until <= claimant.deadline, "I9: a pause beyond the deadline");
                self.known.asked = Some(self.now);
                if self.dice.bool() {
                    self.ask(who, claimant, Ledger::claim);
                } else {
                    self.cancel(who, None, claimant);
                }
            }
            Answer::Failed(_) => {
                self.known.ended += 1;
                self.forget_waker(who);
            }
        }
    }

    fn wait(&mut self, who: u32, ticket: Ticket<Grant<Wire>>, claimant: Claimant, register: bool) {
        self.contended = true;
        self.known.note_wait(who, claimant.arrival);
        if register {
            self.watch = Some(self.now.after(TIMER_AFTER));
        }
        let user = self.users.get(who);
        (user.granted, user.has_timer) = (None, claimant.has_timer);
        self.users.put(who, State::Waiting(ticket, claimant));
    }

    /// A connection is validated before it is lent, by a ping or by hooks.
    fn validate(
        &mut self,
        who: u32,
        mut held: PooledConnection<Wire>,
        claimant: Claimant,
        ping: bool,
    ) {
        self.known.assert_ready(&held, self.now);
        held.inner.conn.phase = Phase::Out;
        let limit = self.plan.config.ping_timeout;
        let fate = self.plan.fate(&mut self.dice, self.now);
        let validation = Validation { held, claimant, fate, ping, ends: self.now.after(limit) };
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
        let State::Waiting(ticket, mut claimant) = self.users.take(who) else { return };
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
        let polled = self.change(|ledger, now| ledger.poll(ticket, &mut claimant, &mut waker, now));
        drop(waker);
        match polled {
            Ok(answer) => self.take_grant(who, answer, claimant),
            Err(ticket) => {
                self.known.assert_still_waits(who, claimant.arrival);
                self.users.put(who, State::Waiting(ticket, claimant));
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

    fn take_grant(&mut self, who: u32, answer: Answer<Wire>, claimant: Claimant) {
        let granted = self.users.get(who).granted.take();
        assert!(granted.is_some(), "I4: somebody was granted a connection and not woken");
        if let Answer::Failed(error) = &answer {
            self.known.assert_failed_rightly(error);
        }
        self.follow_answer(who, answer, claimant, granted);
    }

    /// A validation ends.
    pub(super) fn conclude(&mut self, who: u32) {
        let State::Validating(validation) = self.users.take(who) else { return };
        if validation.fate == Fate::Hangs && self.now < validation.ends {
            self.users.put(who, State::Validating(validation));
            return;
        }
        let Validation { mut held, mut claimant, fate, ping, .. } = *validation;
        if fate == Fate::Well {
            if ping {
                (held.inner.meta.validated_at, held.inner.conn.heard) = (self.now, self.now);
                held.inner.conn.validated = self.now;
            }
            held.inner.conn.phase = Phase::Ready;
            if self.ledger.unfit(&held.inner.meta, self.now).is_some() {
                held.inner.conn.phase = Phase::Doomed;
            }
            let phase = if ping { crate::Phase::Ping } else { crate::Phase::Hook };
            let answer =
                self.change(|ledger, now| ledger.validated(held, phase, &mut claimant, now));
            return match answer {
                Answer::Lent(mut held) => {
                    self.hand_over(who, &mut held);
                    self.users.put(who, State::Holding(held));
                }
                // A ping has just been answered, and now the hooks are called.
                Answer::Validate(held, _) => self.validate(who, held, claimant, false),
                answer => self.follow_answer(who, answer, claimant, None),
            };
        }
        self.faults += 1;
        if fate == Fate::Cut {
            return self.abandon(who, held, claimant);
        }
        held.inner.conn.phase = Phase::Doomed;
        if fate == Fate::Failover {
            self.invalidate(false);
        }
        self.change(|ledger, now| ledger.retire(held, CloseReason::PingFailed, now));
        if ping {
            self.suspect(self.now);
        }
        let answer = claimant.ask_again();
        self.follow_answer(who, answer, claimant, None);
    }

    /// The caller goes away while its connection is validated: the maintenance task sees that
    /// through, if there is one.
    fn abandon(&mut self, who: u32, held: PooledConnection<Wire>, claimant: Claimant) {
        let validation = desk::validation(held, self.plan.config.ping_timeout);
        let cut = self.change(|ledger, now| ledger.take_over(validation, now));
        cut.into_iter().for_each(|validation| self.cut_off(validation));
        self.cancel(who, None, claimant);
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
            State::Waiting(ticket, claimant) => self.leave(who, ticket, claimant),
            State::Validating(validation) => {
                self.abandon(who, validation.held, validation.claimant);
            }
            State::Away | State::Holding(_) => {}
        }
    }

    fn leave(&mut self, who: u32, ticket: Ticket<Grant<Wire>>, claimant: Claimant) {
        self.known.note_leave(claimant.arrival);
        self.users.get(who).granted = None;
        self.cancel(who, Some(ticket), claimant);
    }

    fn cancel(&mut self, who: u32, ticket: Option<Ticket<Grant<Wire>>>, claimant: Claimant) {
        let waker = self.change(|ledger, now| ledger.cancel(ticket, &claimant, now));
        drop(waker);
        self.known.ended += 1;
        self.forget_waker(who);
    }

    /// The deadline of an acquire: if it is still under way, it ends now.
    pub(super) fn deadline_of(&mut self, who: u32, deadline: Time) {
        let claimant = match &self.users.get(who).state {
            State::Waiting(_, claimant) => *claimant,
            State::Validating(validation) => validation.claimant,
            State::Away | State::Holding(_) => return,
        };
        if claimant.deadline != deadline {
            return;
        }
        match self.users.take(who) {
            State::Waiting(ticket, claimant) => self.give_up_waiting(who, ticket, claimant),
            State::Validating(validation) => self.abandon(who, validation.held, claimant),
            State::Away | State::Holding(_) => {}
        }
    }

    /// A waiter takes what it was granted at the last moment, or fails.
    fn give_up_waiting(&mut self, who: u32, ticket: Ticket<Grant<Wire>>, claimant: Claimant) {
        let is_granted = self.users.get(who).granted.is_some();
        if !is_granted {
            self.known.note_leave(claimant.arrival);
        }
        let (answer, waker) = self.change(|ledger, now| {
            let error = |ledger: &Ledger<Wire>| ledger.timed_out(None, claimant.limit, None, now);
            ledger.give_up(ticket, &mut { claimant }, error, now)
        });
        drop(waker);
        if is_granted {
            return self.take_grant(who, answer, claimant);
        }
        let timed_out = matches!(&answer, Answer::Failed(error) if error.is_timeout());
        assert!(timed_out, "I9: a waiter whose deadline has passed goes on: {answer:?}");
        self.follow_answer(who, answer, claimant, None);
    }
}

/// Whether a connection was opened for the one to whom it was granted at that moment.
fn opened_for(held: &PooledConnection<Wire>, granted: Option<Time>) -> bool {
    let wire = &held.inner.conn;
    wire.loans == 0 && granted == Some(wire.opened)
}
