//! What follows from a change of the ledger and is done when its lock is released: who is woken, what is dropped.

use crate::event::CloseReason;
use crate::lease::Held;
use crate::ledger::Ledger;
use crate::time::Time;
use std::task::Waker;

/// What has to be done when the lock is released.
#[derive(Debug)]
pub(crate) struct Aftermath<C> {
    pub(crate) wakes: Vec<Waker>,
    pub(crate) wake: Option<Waker>,
    /// Connections that nobody is left to close properly, and why they go.
    pub(crate) dropped: Vec<(Held<C>, CloseReason)>,
}

impl<C> Default for Aftermath<C> {
    fn default() -> Self {
        Self { wakes: Vec::new(), wake: None, dropped: Vec::new() }
    }
}

impl<C> Ledger<C> {
    pub(crate) fn wake(&mut self, waker: Waker) {
        match self.aftermath.wake {
            None => self.aftermath.wake = Some(waker),
            Some(_) => self.aftermath.wakes.push(waker),
        }
    }

    /// There is something for the keeper to do.
    pub(crate) fn call_keeper(&mut self, now: Time) {
        let Some(keeper) = &mut self.keeper else { return };
        if keeper.called.is_none() {
            keeper.called = Some(now);
            if let Some(waker) = keeper.waker.take() {
                self.wake(waker);
            }
        }
    }

    /// Something falls due then: the keeper must not sleep longer.
    pub(crate) fn expect_sweep(&mut self, due: Time, now: Time) {
        if self.keeper.as_ref().is_some_and(|keeper| due < keeper.wakes_at) {
            self.call_keeper(now);
        }
    }

    pub(crate) fn notify_watchers(&mut self) {
        self.aftermath.wakes.append(&mut self.watchers);
    }
}
