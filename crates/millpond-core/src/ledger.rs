//! The whole state of a pool as one plain struct: connections, waiters, and what must be done next.
//!
//! Each function takes the time, changes the ledger, and answers what follows: a connection to
//! validate, wakers to wake, jobs for the maintenance task, events to report. The ledger performs
//! nothing itself: no async, no clock, no I/O, no user code; nothing is woken or dropped while its
//! lock is held. So it can be simulated from a seed and checked exhaustively.
//!
//! Every connection that becomes available passes [`Ledger::settle`]: it goes to the oldest waiter,
//! else it becomes idle, else it is closed.
//!
//! # Invariants
//!
//! 1. Slots taken never grow beyond the limit; those being opened and closed count.
//! 2. Unless the pool is suspended, no caller waits while a connection is idle.
//! 3. Waiters are served in order: a new caller finds something idle only if no other waits (2).
//! 4. Every connection is in exactly one state: idle, in use, with the maintenance task or in its
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
mod failing_fast;
mod fast_path;
mod growth;
mod idle;
mod maintenance;
mod resetting;
mod settle;
mod shares;
mod slots;
mod state;
mod unlocked;
mod visits;
mod wait_queue;

pub(crate) use backoff::Pause;
use backoff::{ConnectHistory, HANG_MIN};
use borrowers::Borrowers;
#[cfg(all(test, not(millpond_models)))]
pub(crate) use claim::RECENT_PING;
pub(crate) use effects::{Effect, Effects};
pub(crate) use entry::{Answer, Attempt, Grant, Job, PoolTraits, Validated, Validation, Verdict};
pub use entry::{LeaseMeta, PooledConnection};
use entry::{MaintenanceTask, Renewal, bump};
use idle::Idle;
pub(crate) use shares::LentShare;
pub use shares::WaitOutcome;
pub(crate) use slots::Caller;
use slots::{Slots, Stage};
pub(crate) use state::Ledger;
pub(crate) use unlocked::Unlocked;
use visits::note_visit;
pub(crate) use wait_queue::{Claimant, Ticket, TimersSet};
use wait_queue::{Queue, WaiterCell};
