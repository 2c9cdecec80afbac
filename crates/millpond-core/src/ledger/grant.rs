//! What waiters are granted, and how they come by it: the ledger's side of a wait.

use crate::error::PoolError;
use crate::lease::PooledConnection;
use crate::ledger::Ledger;
use crate::ledger::wait_queue::{Armed, Look, Ticket};
use crate::rt::time::Time;
use std::task::Waker;

/// The generation of which nothing is: while the pool is suspended.
pub(crate) const NOTHING: u64 = u64::MAX;

/// What a waiter is granted.
#[derive(Debug)]
pub(crate) enum Grant<C> {
    /// A connection for which nothing is due: its waiter may fetch it without the lock, and counts the loan itself.
    Fresh(PooledConnection<C>),
    /// A connection to be looked at.
    Due(PooledConnection<C>),
    /// No.
    Refusal(PoolError),
}

impl<C: Send + 'static> Ledger<C> {
    /// Wakes those who have waited since `latest` without a timer. Once all have one, the watch need not come again.
    pub(crate) fn arm(&mut self, latest: Time, now: Time) -> Armed {
        let armed = self.waiters.arm(latest, now, &mut self.aftermath.wakes);
        self.watched = armed != Armed::All;
        armed
    }

    /// A waiter looks whether it was granted something. A granted connection must still be validated and counted.
    pub(crate) fn look(&mut self, ticket: Ticket<Grant<C>>, waker: &mut Option<Waker>) -> Look<Grant<C>> {
        self.waiters.look(ticket, waker)
    }

    /// A waiter gives up. What it had been granted goes to the next one; its waker is to be dropped outside the lock.
    pub(crate) fn leave(&mut self, ticket: Ticket<Grant<C>>, now: Time) -> Option<Waker> {
        let (granted, waker) = self.waiters.leave(ticket);
        match granted {
            Some(Grant::Fresh(held) | Grant::Due(held)) => self.settle(held, now),
            Some(Grant::Refusal(error)) => self.aftermath.refusals.push(error),
            None => {}
        }
        self.check();
        waker
    }

    /// Fails everybody who waits.
    pub(crate) fn fail_waiters(&mut self, error: &PoolError) {
        while let Ok(waker) = self.waiters.grant(Grant::Refusal(error.clone())) {
            self.wake(waker);
        }
    }

    /// The generation that may be lent now.
    pub(crate) fn lendable(&self) -> u64 {
        if self.suspended { NOTHING } else { self.generation }
    }
}
