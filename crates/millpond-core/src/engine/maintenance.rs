//! The maintenance task: the only task of a pool. It awaits all that is not part of an acquire.
//!
//! It holds the pool only while it works, so a pool without handles can be dropped. Jobs run
//! concurrently, each within its own limit: one that hangs delays no other.

use crate::engine::Shared;
use crate::engine::call::CallGuard;
use crate::engine::close::{Closing, close};
use crate::engine::connect::{SlotGuard, connect};
use crate::engine::validate::{check_in, validate_idle};
use crate::ledger::{Job, Ledger};
use crate::rt::{self, Handle, Jobs, Time, Timer};
use crate::{Event, Holder, Manager};
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

/// How often a caller tries to start a maintenance task before it says that there is no runtime.
const STARTS: u32 = 2;

impl<M: Manager> Shared<M> {
    /// Starts a maintenance task if there is none. `false` if there is no runtime for it.
    pub(crate) fn ensure_maintenance(self: &Arc<Self>) -> bool {
        // A runtime that is shutting down drops the task at once, which its guard reports: then
        // another runtime is tried.
        for _ in 0..STARTS {
            if self.read(Ledger::has_task) {
                return true;
            }
            let fixed = self.runtime.clone().filter(|_| !self.read(Ledger::has_lost_a_runtime));
            let Some(runtime) = fixed.or_else(rt::current).filter(rt::has_timer) else {
                return false;
            };
            let starts = self.change(|ledger, now| {
                let missing = !ledger.has_task();
                if missing {
                    ledger.maintenance_starts(runtime.clone(), now);
                }
                missing
            });
            if starts {
                let guard = TaskGuard(Arc::downgrade(self));
                rt::spawn(&runtime, run(guard));
            }
        }
        self.read(Ledger::has_task)
    }

    pub(crate) fn runtime(&self) -> Option<Handle> {
        self.read(|ledger| ledger.runtime().cloned())
    }
}

/// Reports the end of the maintenance task when dropped, even if its runtime drops it.
struct TaskGuard<M: Manager>(Weak<Shared<M>>);

impl<M: Manager> Drop for TaskGuard<M> {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        let (lost, _maintenance) =
            shared.change(|ledger, now| (!ledger.is_closed(), ledger.maintenance_ended(now)));
        if lost {
            tracing::debug!(pool = &*shared.name, "the pool's runtime has shut down");
            shared.report(|| Event::RuntimeShutDown);
        }
    }
}

/// Runs until the pool is closed and empty, or gone.
async fn run<M: Manager>(guard: TaskGuard<M>) {
    let mut jobs = Jobs::default();
    let mut timer = None;
    while let Some(shared) = guard.0.upgrade() {
        shared.clock.detect_pause();
        let turn = shared.change(|ledger, now| ledger.turn(now));
        log_leaks(&shared, turn.leaks);
        for job in turn.jobs {
            start(&mut jobs, &shared, job);
        }
        if turn.done {
            return;
        }
        reset_timer(&mut timer, &shared, turn.wakes_at);
        drop(shared);
        poll_fn(|cx| poll_sleep(&guard, &mut jobs, timer.as_mut(), cx)).await;
    }
}

/// Starts a job. The guard of its slot is made here and not in the future, which may be dropped
/// before it is polled.
fn start<M: Manager>(jobs: &mut Jobs, shared: &Arc<Shared<M>>, job: Job<M::Connection>) {
    let shared = Arc::clone(shared);
    match job {
        Job::Connect(attempt) => jobs.start(connect(SlotGuard::new(shared, attempt.slot), attempt)),
        Job::Checkin { held, reset, ping } => {
            jobs.start(check_in(CallGuard::new(shared, held), reset, ping))
        }
        Job::Validate(held) => jobs.start(validate_idle(CallGuard::new(shared, held))),
        Job::Complete(validation) => jobs.start(shared.complete(validation)),
        Job::Close(held, reason) => jobs.start(close(Closing::new(shared, held, reason))),
    }
}

/// Resets the timer if something else falls due first.
fn reset_timer<M: Manager>(timer: &mut Option<(Time, Timer)>, shared: &Shared<M>, wakes_at: Time) {
    if timer.as_ref().is_none_or(|(at, _)| *at != wakes_at) {
        let due =
            (wakes_at != Time::NEVER).then(|| shared.clock.timer(wakes_at, || None)).flatten();
        *timer = due.map(|timer| (wakes_at, timer));
    }
}

/// Sleeps until woken, until the timer elapses, or until the pool is gone.
fn poll_sleep<M: Manager>(
    guard: &TaskGuard<M>,
    jobs: &mut Jobs,
    timer: Option<&mut (Time, Timer)>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    jobs.reap(cx);
    let Some(shared) = guard.0.upgrade() else { return Poll::Ready(()) };
    // Cloned, and the old one dropped, outside the lock.
    let mut waker = Some(cx.waker().clone());
    let called = !shared.change(|ledger, _| ledger.try_sleep(&mut waker));
    let elapsed = timer.is_some_and(|(_, timer)| timer.poll_elapsed(cx) != Some(false));
    if called || elapsed { Poll::Ready(()) } else { Poll::Pending }
}

fn log_leaks<M: Manager>(shared: &Shared<M>, leaks: Vec<Holder>) {
    for Holder { id, location, label, held, .. } in leaks {
        let (pool, connection) = (&*shared.name, id.get());
        tracing::warn!(pool, connection, holder = %location, label, ?held,
            "connection held longer than leak_after");
    }
}
