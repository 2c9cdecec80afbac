//! Why a deadline passed: what the pool looked like at that moment, so that the error can say what helps.

use crate::engine::Shared;
use crate::error::{Phase, PoolError, TimedOut};
use crate::ledger::Ledger;
use crate::ledger::slots::{Caller, Stage};
use crate::manager::Manager;
use crate::rt::time::Time;
use crate::status::Status;
use std::sync::Arc;
use std::time::Duration;

/// How many of the oldest holders a timeout names.
const HOLDERS_TOLD: usize = 3;

/// How long the keeper may be late before a timeout says that its runtime is blocked.
const STALLED: Duration = Duration::from_millis(100);

/// Why a deadline passed, and what the pool looked like.
pub(crate) fn timed_out<M: Manager>(
    shared: &Shared<M>,
    ledger: &Ledger<M::Connection>,
    caller: Caller,
    limit: Duration,
    phase: Option<Phase>,
    now: Time,
) -> PoolError {
    let status = ledger.status(now);
    let phase = phase.unwrap_or_else(|| waiting_phase(ledger, &status));
    let mut holders = ledger.slots.holders(now);
    holders.truncate(HOLDERS_TOLD);
    let all_held = ledger.slots.count(Stage::Idle) == 0;
    let late = |since: Time| Some(now.since(since)).filter(|late| *late >= STALLED);
    PoolError::TimedOut(Box::new(TimedOut {
        pool: Arc::clone(&shared.name),
        kind: shared.kind,
        phase,
        limit,
        holders,
        last_error: ledger.last_error(),
        self_deadlock: all_held && caller.task.is_some_and(|task| ledger.slots.holds(task)),
        runtime_stalled_for: ledger.keeper.as_ref().and_then(|keeper| keeper.called).and_then(late),
        status,
    }))
}

/// What one who waits is waiting for: only what is true.
fn waiting_phase<C>(ledger: &Ledger<C>, status: &Status) -> Phase {
    let full = status.open >= status.cap();
    if ledger.suspended {
        Phase::Suspended
    } else if full {
        Phase::Wait
    } else if status.connecting > 0 || ledger.opening.failing_since.is_some() {
        Phase::Connect
    } else if status.open >= status.pool_size {
        Phase::Overflow
    } else {
        Phase::NotReady
    }
}
