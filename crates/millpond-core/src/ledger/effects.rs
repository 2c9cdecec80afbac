//! What follows from a change of the ledger and is done when its lock is released: who is woken, what is dropped.

use crate::engine::validate::Examination;
use crate::error::PoolError;
use crate::event::{CloseReason, SharedError};
use crate::lease::PooledConnection;
use crate::ledger::Ledger;
use crate::rt::time::Time;
use std::mem;
use std::task::Waker;

/// What has to be done when the lock is released.
#[derive(Debug)]
pub(crate) struct Aftermath<C> {
    pub(crate) wakes: Vec<Waker>,
    pub(crate) wake: Option<Waker>,
    /// Connections that nobody is left to close properly, and why they go.
    pub(crate) dropped: Vec<(PooledConnection<C>, CloseReason)>,
    /// Examinations that nobody is left to see through.
    pub(crate) examinations: Vec<Examination<C>>,
    /// Errors that nobody needs any more: their destructors are user code.
    pub(crate) errors: Vec<SharedError>,
    /// Refusals that were granted to waiters who have gone.
    pub(crate) refusals: Vec<PoolError>,
}

impl<C> Default for Aftermath<C> {
    fn default() -> Self {
        Self {
            wakes: Vec::new(),
            wake: None,
            dropped: Vec::new(),
            examinations: Vec::new(),
            errors: Vec::new(),
            refusals: Vec::new(),
        }
    }
}

impl<C> Aftermath<C> {
    /// Whether there is anything to be done beyond one wake.
    pub(crate) fn is_large(&self) -> bool {
        let few = self.wakes.is_empty() && self.dropped.is_empty() && self.examinations.is_empty();
        !(few && self.errors.is_empty() && self.refusals.is_empty())
    }
}

impl<C: Send + 'static> Ledger<C> {
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        match self.aftermath.wake {
            None => self.aftermath.wake = waker,
            Some(_) => self.aftermath.wakes.extend(waker),
        }
    }

    /// There is something for the keeper to do.
    pub(crate) fn call_keeper(&mut self, now: Time) {
        let Some(keeper) = &mut self.keeper else { return };
        if keeper.called.is_none() {
            keeper.called = Some(now);
            let waker = keeper.waker.take();
            self.wake(waker);
        }
    }

    /// Something falls due then: the keeper must not sleep longer.
    pub(crate) fn expect_sweep(&mut self, due: Time, now: Time) {
        if self.keeper.as_ref().is_some_and(|keeper| due < keeper.wakes_at) {
            self.call_keeper(now);
        }
    }

    /// A number for one who is going to watch.
    pub(crate) fn number_watcher(&mut self) -> u64 {
        self.last_watcher = self.last_watcher.saturating_add(1);
        self.last_watcher
    }

    /// Wakes this task at the next change. The waker that it had before, to be dropped outside the lock.
    pub(crate) fn watch(&mut self, number: u64, waker: Waker) -> Option<Waker> {
        match self.watchers.iter_mut().find(|(other, _)| *other == number) {
            Some((_, old)) => Some(mem::replace(old, waker)),
            None => {
                self.watchers.push((number, waker));
                None
            }
        }
    }

    /// That task watches no longer.
    pub(crate) fn unwatch(&mut self, number: u64) -> Option<Waker> {
        let at = self.watchers.iter().position(|(other, _)| *other == number)?;
        Some(self.watchers.swap_remove(at).1)
    }

    pub(crate) fn notify_watchers(&mut self) {
        self.aftermath.wakes.extend(self.watchers.drain(..).map(|(_, waker)| waker));
    }
}
