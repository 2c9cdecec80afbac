//! What the world sees of the ledger from outside: connections and wakers that notice what is done
//! to them, and when.
//!
//! A world lives on one thread, so its notes are the thread's own.

use crate::error;
use crate::ledger::PooledConnection;
use crate::ledger::{Validated, Validation};
use crate::rt::Time;
use std::cell::{Cell, RefCell};
use std::future::ready;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

/// The waker of the maintenance task.
pub(super) const MAINTENANCE: u32 = u32::MAX;

thread_local! {
    /// Whether the ledger's lock would be held at this moment.
    static LOCKED: Cell<bool> = const { Cell::new(false) };
    /// Who was woken, in that order.
    static WOKEN: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    static ALIVE: Cell<u32> = const { Cell::new(0) };
}

/// A new world begins on this thread.
pub(super) fn clear() {
    LOCKED.set(false);
    WOKEN.take();
    ALIVE.set(0);
}

/// Whether the ledger is at work: nothing foreign may be touched meanwhile.
pub(super) fn set_locked(locked: bool) {
    LOCKED.set(locked);
}

/// Who was woken since this was last asked.
pub(super) fn woken() -> Vec<u32> {
    WOKEN.with_borrow_mut(mem::take)
}

/// How many connections exist.
pub(super) fn alive() -> u32 {
    ALIVE.get()
}

fn assert_unlocked(what: &str) {
    assert!(!LOCKED.get() || thread::panicking(), "I14: {what} under the lock");
}

/// What a connection has been through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Opened, or given back and found well.
    Ready,
    /// Being validated or held.
    Out,
    /// Given back, and in need of a reset.
    Soiled,
    /// Refused, cut off or given up: it may only be closed.
    Doomed,
}

/// A connection of the simulated server.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) phase: Phase,
    pub(super) generation: u64,
    pub(super) opened: Time,
    /// When the server was last heard of through it.
    pub(super) heard: Time,
    /// When it last answered: a return is no answer.
    pub(super) validated: Time,
    pub(super) loans: u64,
}

impl Wire {
    pub(super) fn open(generation: u64, now: Time) -> Self {
        ALIVE.set(ALIVE.get() + 1);
        Self { phase: Phase::Ready, generation, opened: now, heard: now, validated: now, loans: 0 }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        assert_unlocked("a connection was dropped");
        ALIVE.set(ALIVE.get().saturating_sub(1));
    }
}

/// A validation as the maintenance task takes it over. What becomes of it is up to the world.
pub(super) fn validation(held: PooledConnection<Wire>, limit: Duration) -> Validation<Wire> {
    let slot = held.inner.meta.slot;
    Validation {
        stage: Box::pin(ready(Validated::Fit(held))),
        phase: error::Phase::Ping,
        limit,
        slot,
    }
}

/// The connection under such a validation.
pub(super) fn validated(mut validation: Validation<Wire>) -> PooledConnection<Wire> {
    match validation.stage.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Validated::Fit(held)) => held,
        _ => panic!("a validation of the simulator has a connection"),
    }
}

/// Notes who is woken.
#[derive(Debug)]
pub(super) struct Bell(u32);

impl Bell {
    pub(super) fn of(who: u32) -> Arc<Self> {
        Arc::new(Self(who))
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        assert_unlocked("somebody was woken");
        WOKEN.with_borrow_mut(|woken| woken.push(self.0));
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        assert_unlocked("a waker was dropped");
    }
}
