//! The way back: what happens when a lease ends, from the borrower's drop to the idle connections.
//!
//! The first half runs in `Drop`: it looks at the connection, moves it under the lock, and wakes a
//! waiter. What has to be awaited is a job of the maintenance task.

use crate::engine::Shared;
use crate::ledger::{LeaseMeta, Ledger, PooledConnection};
use crate::rt::{Time, catch_panic};
use crate::{CloseReason, ConnectionInfo, Event, LeaseOwner, Manager, Triage};
use std::thread;
use std::time::Duration;

impl<M: Manager> LeaseOwner<M::Connection> for Shared<M> {
    fn returned(&self, mut held: PooledConnection<M::Connection>) {
        let verdict =
            if thread::panicking() { Err(CloseReason::Panicked) } else { self.triage(&mut held) };
        self.process_return(held, verdict);
    }

    fn discarded(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        self.process_return(held, Err(reason));
    }

    fn detached(&self, meta: &LeaseMeta) {
        self.change_and_report(|ledger, now| {
            ledger.detached(meta.slot, now);
            Some(Event::Detached { id: meta.id })
        });
    }

    fn info(&self, meta: &LeaseMeta) -> ConnectionInfo {
        self.describe(meta)
    }
}

impl<M: Manager> Shared<M> {
    /// Asks the manager's `triage` what to do with a returned connection; the result is as
    /// [`process_return`](Self::process_return) takes it.
    fn triage(&self, held: &mut PooledConnection<M::Connection>) -> Result<bool, CloseReason> {
        match catch_panic(|| self.manager.triage(&mut held.inner.conn)) {
            Ok(Triage::Keep) => Ok(false),
            Ok(Triage::Reset) => Ok(true),
            Ok(Triage::Discard) => Err(CloseReason::Unverified),
            Ok(Triage::Broken) => Err(CloseReason::Broken),
            Err(message) => {
                self.report_panic("triage", message);
                Err(CloseReason::Panicked)
            }
        }
    }

    /// Takes back a connection that was about to be lent. Its hooks may have used it, so it is
    /// treated like a returned one, but is neither reported nor measured.
    pub(crate) fn return_unlent(&self, mut held: PooledConnection<M::Connection>) {
        let verdict = self.triage(&mut held);
        self.change(|ledger, now| self.store(ledger, held, verdict, now));
    }

    fn store(
        &self,
        ledger: &mut Ledger<M::Connection>,
        held: PooledConnection<M::Connection>,
        verdict: Result<bool, CloseReason>,
        now: Time,
    ) {
        match verdict {
            Ok(reset) if ledger.keeps() && (reset || self.checkin_hooks) => {
                ledger.send_to_checkin(held, reset, now)
            }
            Ok(_) => ledger.put_back(held, now),
            Err(reason) => {
                ledger.retire(held, reason, now);
                if reason == CloseReason::Broken {
                    ledger.mark_suspect(now, now);
                }
            }
        }
        ledger.note_return();
    }

    /// `Ok(true)`: usable after a reset; `Err`: must be closed.
    fn process_return(
        &self,
        mut held: PooledConnection<M::Connection>,
        verdict: Result<bool, CloseReason>,
    ) {
        let plain = self.fast_checkin && verdict == Ok(false);
        let id = held.inner.meta.id;
        let now = self.loan_time();
        if plain {
            match self.change_at(now, |ledger, now| ledger.put_back_fresh(held, now)) {
                None => return,
                Some(considered) => held = considered,
            }
        }
        let report =
            self.change_at(now, |ledger, now| self.return_slow(ledger, held, verdict, now));
        if let Some((seq, held)) = report {
            self.report_at(seq, &Event::Returned { id, held });
        }
    }

    /// The slow path of a return. Returns the sequence number of its event and how long the
    /// connection was held, if an observer wants the event.
    fn return_slow(
        &self,
        ledger: &mut Ledger<M::Connection>,
        mut held: PooledConnection<M::Connection>,
        verdict: Result<bool, CloseReason>,
        now: Time,
    ) -> Option<(u64, Duration)> {
        ledger.recycle_cell(&mut held);
        (held.inner.meta.idle_since, held.inner.meta.validated_at) = (now, now);
        let lent = ledger.slot_since(held.inner.meta.slot);
        ledger.measure_use(lent, now);
        let overdue = ledger.config().max_lease.is_some_and(|limit| now.since(lent) >= limit);
        let verdict = if overdue { verdict.and(Err(CloseReason::Overdue)) } else { verdict };
        let report = ledger.seq_if(self.routine_observed()).map(|seq| (seq, now.since(lent)));
        self.store(ledger, held, verdict, now);
        report
    }
}
