//! Why a deadline passed, and the state of the pool at that moment.

use crate::ledger::{Ledger, Stage};
use crate::rt::{TaskId, Time};
use crate::{Phase, PoolError, Status, TimedOut};
use std::sync::Arc;
use std::time::Duration;

/// How many of the oldest holders a timeout names.
pub(crate) const HOLDERS_REPORTED: usize = 3;

/// How long the maintenance task may be late before a timeout says that its runtime is blocked.
const STALLED: Duration = Duration::from_millis(100);

impl<C: Send + 'static> Ledger<C> {
    pub(crate) fn timed_out(
        &self,
        task: Option<TaskId>,
        limit: Duration,
        phase: Option<Phase>,
        now: Time,
    ) -> PoolError {
        let status = self.status(now);
        let phase = phase.unwrap_or_else(|| self.waiting_phase(&status));
        let mut holders = self.slots.holders(now);
        holders.truncate(HOLDERS_REPORTED);
        let all_held = self.slots.count(Stage::Idle) == 0;
        let late = |since: Time| Some(now.since(since)).filter(|late| *late >= STALLED);
        PoolError::TimedOut(Box::new(TimedOut {
            pool: Arc::clone(&self.traits.name),
            kind: self.traits.kind,
            phase,
            limit,
            holders,
            last_error: self.connects.last_error.clone(),
            self_deadlock: all_held && task.is_some_and(|task| self.slots.holds(task)),
            runtime_stalled_for: self.task.as_ref().and_then(|task| task.woken_at).and_then(late),
            status,
        }))
    }

    fn waiting_phase(&self, status: &Status) -> Phase {
        let full = status.open >= status.limit();
        if self.suspended {
            Phase::Suspended
        } else if full {
            Phase::Wait
        } else if status.connecting > 0 || self.connects.failing_since.is_some() {
            Phase::Connect
        } else if status.open >= status.pool_size {
            Phase::Overflow
        } else {
            Phase::NotReady
        }
    }
}
