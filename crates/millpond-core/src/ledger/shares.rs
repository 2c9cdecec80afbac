//! Shares of connections, as a pool over a `Multiplexer` of `millpond-shared` lends them to
//! several borrowers at once.
//!
//! There the leases of this pool are *members*, each held for as long as its connection serves. Its
//! borrowers are those of the shares: they alone wait, are counted, measured and named as holders.
//! A share takes a slot in [`Slots`](super::slots::Slots) that is no connection's.

use crate::ledger::{Borrowers, Caller, LeaseMeta, Ledger};
use crate::rt::Time;
use crate::{Event, PoolError};
use std::panic::Location;

/// What a borrower gets that would wait for a member.
#[derive(Debug)]
pub enum WaitOutcome {
    /// It waits now.
    Joined,
    /// Connecting fails: it asks once more after this time.
    AskAgain(Time),
    /// It fails.
    Refused(PoolError),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct LentShare {
    pub(crate) slot: u32,
    /// Whether its connection has to be pinged, which counts as begun.
    pub(crate) ping_due: bool,
}

impl<C: Send + 'static> Ledger<C> {
    /// From now on what is lent are members and shares of them.
    pub(crate) fn multiplex(&mut self) {
        self.borrowers = Some(Borrowers::default());
    }

    pub(crate) fn is_multiplexed(&self) -> bool {
        self.borrowers.is_some()
    }

    /// A borrower waits until a member can be shared. `refused_once`: it was refused before.
    pub(crate) fn await_share(
        &mut self,
        number: u64,
        since: Time,
        refused_once: bool,
        now: Time,
    ) -> WaitOutcome {
        match self.refusal() {
            Some(error @ PoolError::Connect { .. }) if !refused_once => {
                WaitOutcome::AskAgain(now.after(self.refusal_delay(error, now)))
            }
            Some(error) => WaitOutcome::Refused(error),
            None => {
                if let Some(borrowers) = &mut self.borrowers {
                    borrowers.join(since, number);
                }
                self.report_of_share(Event::Waiting { waiting: self.waiting() as usize });
                WaitOutcome::Joined
            }
        }
    }

    pub(crate) fn stop_waiting_for_share(&mut self, number: u64, since: Time) {
        if let Some(borrowers) = &mut self.borrowers {
            borrowers.leave(since, number);
        }
    }

    /// Lends a share of a member. The acquire began at `since`, or did not wait.
    pub(crate) fn lend_share(
        &mut self,
        member: &LeaseMeta,
        caller: Caller,
        since: Option<Time>,
        now: Time,
    ) -> LentShare {
        if since.is_none() {
            self.count_acquire();
        }
        let since = since.unwrap_or(now);
        self.count_share(since, now);
        let slot = self.slots.lend_share(member.slot, caller, now);
        if let Some(age) = self.config.report_after() {
            self.wake_by(now.after(age), now);
        }
        let (waited, location) = (now.since(since), caller.location);
        self.report_of_share(Event::Acquired { id: member.id, waited, location });
        LentShare { slot, ping_due: self.slots.check_due(member.slot, self.ping_after, now) }
    }

    /// A share has come back. Whether it was held for longer than `max_lease`.
    pub(crate) fn end_share(&mut self, share: &LeaseMeta, now: Time) -> bool {
        let since = self.slots.since(share.slot);
        self.slots.end_share(share.slot);
        self.measure_share(since, now);
        let held = now.since(since);
        self.report_of_share(Event::Returned { id: share.id, held });
        self.config.max_lease.is_some_and(|limit| held >= limit)
    }

    /// An acquire of a share has failed, or was dropped.
    pub(crate) fn share_not_lent(
        &mut self,
        location: &'static Location<'static>,
        since: Time,
        error: Option<&PoolError>,
        now: Time,
    ) {
        self.count_share_failure(error);
        let waited = now.since(since);
        self.report_of_share(match error.map(PoolError::kind) {
            Some(failure) => Event::AcquireFailed { failure, waited, location },
            None => Event::AcquireCancelled { waited, location },
        });
    }
}
