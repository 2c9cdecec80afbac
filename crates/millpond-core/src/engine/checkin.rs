//! The way back: what happens when a lease ends, from the borrower's drop to the idle connections.
//!
//! The first half runs in `Drop`: it looks at the connection, moves it under the lock, and wakes
//! somebody. What has to be awaited is a job of the maintenance task.

use crate::engine::shared::Shared;
use crate::event::{CloseReason, Event};
use crate::info::ConnectionInfo;
use crate::lease::LeaseOwner;
use crate::ledger::{LeaseMeta, Ledger, PooledConnection};
use crate::manager::{Manager, Triage};
use crate::rt::panics::calmly;
use crate::rt::time::Time;
use std::thread;
use std::time::Duration;

impl<M: Manager> LeaseOwner<M::Connection> for Shared<M> {
    fn returned(&self, mut held: PooledConnection<M::Connection>) {
        let verdict =
            if thread::panicking() { Err(CloseReason::Panicked) } else { self.judge(&mut held) };
        self.come_back(held, verdict);
    }

    fn discarded(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        self.come_back(held, Err(reason));
    }

    fn detached(&self, tag: &LeaseMeta) {
        self.change_and_tell(|ledger, now| {
            ledger.detached(tag.slot, now);
            Some(Event::Detached { id: tag.id })
        });
    }

    fn info(&self, tag: &LeaseMeta) -> ConnectionInfo {
        self.describe(tag)
    }
}

impl<M: Manager> Shared<M> {
    /// What the manager's `triage` makes of a connection that comes back, as
    /// [`come_back`](Self::come_back) takes it.
    fn judge(&self, held: &mut PooledConnection<M::Connection>) -> Result<bool, CloseReason> {
        match calmly(|| self.manager.triage(&mut held.inner.conn)) {
            Ok(Triage::Keep) => Ok(false),
            Ok(Triage::Reset) => Ok(true),
            Ok(Triage::Discard) => Err(CloseReason::Unverified),
            Ok(Triage::Broken) => Err(CloseReason::Broken),
            Err(message) => {
                self.tell_panic("triage", message);
                Err(CloseReason::Panicked)
            }
        }
    }

    /// Takes back a connection that was to be lent and was not: its hooks may have used it, so it
    /// is treated as if it had been, but for telling and measuring.
    pub(crate) fn give_back(&self, mut held: PooledConnection<M::Connection>) {
        let verdict = self.judge(&mut held);
        self.change(|ledger, now| self.put_away(ledger, held, verdict, now));
    }

    fn put_away(
        &self,
        ledger: &mut Ledger<M::Connection>,
        held: PooledConnection<M::Connection>,
        verdict: Result<bool, CloseReason>,
        now: Time,
    ) {
        match verdict {
            Ok(reset) if ledger.keeps() && (reset || self.checkin_hooks) => {
                ledger.rest(held, reset, now)
            }
            Ok(_) => ledger.put_back(held, now),
            Err(reason) => {
                ledger.retire(held, reason, now);
                if reason == CloseReason::Broken {
                    ledger.suspect(now, now);
                }
            }
        }
        ledger.note_return();
    }

    /// `Ok(true)`: fit after a reset; `Err`: to be closed.
    fn come_back(
        &self,
        mut held: PooledConnection<M::Connection>,
        verdict: Result<bool, CloseReason>,
    ) {
        let plain = self.plain_checkin && verdict == Ok(false);
        let id = held.inner.tag.id;
        let now = self.glance();
        if plain {
            match self.change_at(now, |ledger, now| ledger.put_back_fresh(held, now)) {
                None => return,
                Some(considered) => held = considered,
            }
        }
        let told = self.change_at(now, |ledger, now| self.take_back(ledger, held, verdict, now));
        if let Some((seq, held)) = told {
            self.tell_at(seq, &Event::Returned { id, held });
        }
    }

    /// The slow path of a return. What must be reported of it, if anybody wants
    /// to know: the event's place, and how long it was held.
    fn take_back(
        &self,
        ledger: &mut Ledger<M::Connection>,
        mut held: PooledConnection<M::Connection>,
        verdict: Result<bool, CloseReason>,
        now: Time,
    ) -> Option<(u64, Duration)> {
        ledger.recycle_cell(&mut held);
        (held.inner.tag.idle_since, held.inner.tag.validated_at) = (now, now);
        let lent = ledger.slot_since(held.inner.tag.slot);
        ledger.measure_use(lent, now);
        let overdue = ledger.config().max_lease.is_some_and(|limit| now.since(lent) >= limit);
        let verdict = if overdue { verdict.and(Err(CloseReason::Overdue)) } else { verdict };
        let told = ledger.seq_if(self.routine_observed()).map(|seq| (seq, now.since(lent)));
        self.put_away(ledger, held, verdict, now);
        told
    }
}
