//! The maintenance task: the one task of a pool, in which everything is awaited that is nobody's
//! acquire.
//!
//! It holds the pool only while it works, so a pool that nobody holds any more is gone. Jobs run
//! side by side, each under its own limit: one that hangs delays no other.

use crate::engine::call::CallGuard;
use crate::engine::close::{Closing, close};
use crate::engine::connect::{Place, connect};
use crate::engine::recheck::{check_in, see_through, validate_idle};
use crate::engine::shared::Shared;
use crate::event::Event;
use crate::ledger::{Job, Ledger};
use crate::manager::Manager;
use crate::rt::time::Time;
use crate::rt::{self, Handle, Jobs, Timer};
use crate::status::Holder;
use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

/// How often a caller tries to start a maintenance task before it says that there is no runtime.
const STARTS: u32 = 2;

impl<M: Manager> Shared<M> {
    /// Makes sure that there is a maintenance task. `false` if there is no runtime for one.
    pub(crate) fn ensure_maintenance(self: &Arc<Self>) -> bool {
        // A runtime that is shutting down drops the maintenance task at once, and the guard in it
        // says so: then another one is tried.
        for _ in 0..STARTS {
            if self.look(Ledger::has_task) {
                return true;
            }
            let fixed = self.home.clone().filter(|_| !self.look(Ledger::has_lost_a_runtime));
            let Some(home) = fixed.or_else(rt::current).filter(rt::has_timer) else { return false };
            let starts = self.change(|ledger, now| {
                let missing = !ledger.has_task();
                if missing {
                    ledger.maintenance_starts(home.clone(), now);
                }
                missing
            });
            if starts {
                let presence = Presence(Arc::downgrade(self));
                rt::spawn(&home, keep(presence));
            }
        }
        self.look(Ledger::has_task)
    }

    /// The runtime on which the pool lives.
    pub(crate) fn home(&self) -> Option<Handle> {
        self.look(|ledger| ledger.runtime().cloned())
    }
}

/// That there is a maintenance task. Dropped when the maintenance task ends, or when its runtime
/// does.
struct Presence<M: Manager>(Weak<Shared<M>>);

impl<M: Manager> Drop for Presence<M> {
    fn drop(&mut self) {
        let Some(shared) = self.0.upgrade() else { return };
        let (lost, _maintenance) =
            shared.change(|ledger, now| (!ledger.is_closed(), ledger.maintenance_ended(now)));
        if lost {
            tracing::debug!(pool = &*shared.name, "the pool's home runtime has ended");
            shared.tell(|| Event::RuntimeShutDown);
        }
    }
}

/// Runs until the pool is closed and empty, or gone.
async fn keep<M: Manager>(presence: Presence<M>) {
    let mut jobs = Jobs::default();
    let mut timer = None;
    while let Some(shared) = presence.0.upgrade() {
        shared.clock.look_for_pause();
        let turn = shared.change(|ledger, now| ledger.turn(now));
        report_leaks(&shared, turn.leaks);
        for job in turn.jobs {
            start(&mut jobs, &shared, job);
        }
        if turn.done {
            return;
        }
        set(&mut timer, &shared, turn.wakes_at);
        drop(shared);
        poll_fn(|cx| rest(&presence, &mut jobs, timer.as_mut(), cx)).await;
    }
}

/// Starts a job. The guard of its place is made here and not in the future, which may be dropped
/// before it is polled.
fn start<M: Manager>(jobs: &mut Jobs, shared: &Arc<Shared<M>>, job: Job<M::Connection>) {
    let shared = Arc::clone(shared);
    match job {
        Job::Connect(attempt) => jobs.start(connect(Place::new(shared, &attempt), attempt)),
        Job::Checkin { held, reset, ping } => {
            jobs.start(check_in(CallGuard::new(shared, held), reset, ping))
        }
        Job::Validate(held) => jobs.start(validate_idle(CallGuard::new(shared, held))),
        Job::SeeThrough(validation) => jobs.start(see_through(shared, validation)),
        Job::Close(held, reason) => jobs.start(close(Closing::new(shared, held, reason))),
    }
}

/// Sets the timer anew if something else falls due first.
fn set<M: Manager>(timer: &mut Option<(Time, Timer)>, shared: &Shared<M>, wakes_at: Time) {
    if timer.as_ref().is_none_or(|(at, _)| *at != wakes_at) {
        let due =
            (wakes_at != Time::NEVER).then(|| shared.clock.timer(wakes_at, || None)).flatten();
        *timer = due.map(|timer| (wakes_at, timer));
    }
}

/// Sleeps until called, until the timer rings, or until the pool is gone.
fn rest<M: Manager>(
    presence: &Presence<M>,
    jobs: &mut Jobs,
    timer: Option<&mut (Time, Timer)>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    jobs.reap(cx);
    let Some(shared) = presence.0.upgrade() else { return Poll::Ready(()) };
    // Cloned, and the old one dropped, outside the lock.
    let mut waker = Some(cx.waker().clone());
    let called = !shared.change(|ledger, _| ledger.doze(&mut waker));
    let rings = timer.is_some_and(|(_, timer)| timer.rings(cx) != Some(false));
    if called || rings { Poll::Ready(()) } else { Poll::Pending }
}

fn report_leaks<M: Manager>(shared: &Shared<M>, leaks: Vec<Holder>) {
    for Holder { id, location, label, held } in leaks {
        let (pool, connection) = (&*shared.name, id.get());
        tracing::warn!(pool, connection, holder = %location, label, ?held,
            "a connection is held for long");
        shared.tell(|| Event::Leaked { id, location, held });
    }
}
