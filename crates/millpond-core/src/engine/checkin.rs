//! The end of a lease, from the borrower's drop to the idle connections.
//!
//! This half runs in `Drop`: it asks for the manager's verdict, moves the connection under the
//! lock, and wakes a waiter. What must be awaited is a job of the maintenance task.

use crate::engine::{Held, Shared};
use crate::ledger::{LeaseMeta, Verdict};
use crate::rt::catch_panic;
use crate::{CloseReason, ConnectionInfo, LeaseOwner, Manager, Triage};
use std::thread;

impl<M: Manager> LeaseOwner<M::Connection> for Shared<M> {
    fn returned(&self, mut held: Held<M>) {
        let panics = thread::panicking();
        let verdict =
            if panics { Verdict::Close(CloseReason::Panicked) } else { self.triage(&mut held) };
        self.process_return(held, verdict);
    }

    fn discarded(&self, held: Held<M>, reason: CloseReason) {
        self.process_return(held, Verdict::Close(reason));
    }

    fn detached(&self, meta: &LeaseMeta) {
        self.change(|ledger, now| ledger.detached(meta, now));
    }

    fn info(&self, meta: &LeaseMeta) -> ConnectionInfo {
        self.describe(meta)
    }
}

impl<M: Manager> Shared<M> {
    fn triage(&self, held: &mut Held<M>) -> Verdict {
        match catch_panic(|| self.manager.triage(&mut held.inner.conn)) {
            Ok(Triage::Keep) => Verdict::Keep,
            Ok(Triage::Reset) => Verdict::Reset,
            Ok(Triage::Discard) => Verdict::Close(CloseReason::Unverified),
            Ok(Triage::Broken) => Verdict::Close(CloseReason::Broken),
            Err(message) => {
                self.report_panic("triage", message);
                Verdict::Close(CloseReason::Panicked)
            }
        }
    }

    /// Takes back a connection that was about to be lent. Its hooks may have used it, so it is
    /// treated like a returned one, but is neither reported nor measured.
    pub(crate) fn return_unlent(&self, mut held: Held<M>) {
        let verdict = self.triage(&mut held);
        self.change(|ledger, now| ledger.take_back(held, verdict, now));
    }

    fn process_return(&self, mut held: Held<M>, verdict: Verdict) {
        let now = self.loan_time();
        if self.fast_checkin && verdict == Verdict::Keep {
            match self.change_at(now, |ledger, now| ledger.put_back_fresh(held, now)) {
                None => return,
                Some(considered) => held = considered,
            }
        }
        self.change_at(now, |ledger, now| ledger.returned(held, verdict, now));
    }
}
