//! The pool's whole state as one plain struct: who has what, who waits, what must be done next.
//!
//! The ledger takes an event and the time, changes itself, and says what follows: a connection to
//! validate, wakers to wake, jobs for the maintenance task. It performs nothing: no async, no
//! clock, no I/O, no user code; nothing is woken or dropped while its lock is held. So it can be
//! simulated by seed and checked exhaustively.
//!
//! A connection that becomes available has one way to go, [`Ledger::settle`]: to the oldest waiter,
//! else to the idle ones, else it closes.
//!
//! # Invariants
//!
//! 1. Places taken never grow beyond the cap; those being opened and closed count.
//! 2. While lending goes on, nobody waits while a connection is idle.
//! 3. Nobody is passed in the queue: a newcomer finds something idle only if nobody waits (2).
//! 4. Every connection is in exactly one place: idle, in use, with the maintenance task or in its
//!    inbox, or granted to a waiter.
//! 5. What is older than the last `invalidate_all` is never lent.

mod backoff;
mod borrowers;
mod claim;
mod control;
mod diagnosis;
mod effects;
mod entry;
mod expiry;
mod fast_path;
mod growth;
mod idle;
mod resting;
mod settle;
mod shares;
mod slots;
mod state;
mod unlocked;
mod visits;
mod wait_queue;

pub(crate) use effects::{Effect, Effects};
pub(crate) use entry::{Asker, Attempt, Claim, Grant, Job, Validated, Validation};
pub use entry::{LeaseMeta, PooledConnection};
pub(crate) use shares::{Lent, Waits};
pub(crate) use slots::Caller;
pub(crate) use state::Ledger;
pub(crate) use unlocked::Unlocked;
pub(crate) use wait_queue::{Armed, Look, Ticket};
#[cfg(all(test, not(millpond_models)))]
pub(crate) use {backoff::Pause, claim::RECENT_PING, growth::Setback};
