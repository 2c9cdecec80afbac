//! The ledger's half of the maintenance task: its start, its turns, its sleep and its end.

use crate::ledger::{Effect, Job, Ledger, MaintenanceTask};
use crate::rt::{Handle, Time};
use crate::{CloseReason, Event, Holder};
use std::any::Any;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

#[derive(Debug)]
pub(crate) struct Turn<C> {
    pub(crate) jobs: Vec<Job<C>>,
    pub(crate) leaks: Vec<Holder>,
    /// When something falls due next.
    pub(crate) wakes_at: Time,
    /// The pool is closed and nothing is open any more.
    pub(crate) done: bool,
}

impl<C: Send + 'static> Ledger<C> {
    pub(crate) fn has_task(&self) -> bool {
        self.task.is_some()
    }

    pub(crate) fn runtime(&self) -> Option<&Handle> {
        self.task.as_ref().map(|task| &task.runtime)
    }

    pub(crate) fn has_lost_a_runtime(&self) -> bool {
        self.lost_a_runtime
    }

    /// Keeps a pool whose last handle was dropped until everything is closed. Gives it back if
    /// there is no maintenance task.
    pub(crate) fn keep_alive(
        &mut self,
        pool: Arc<dyn Any + Send + Sync>,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        match &mut self.task {
            Some(task) => task.kept_pool.replace(pool),
            None => Some(pool),
        }
    }

    pub(crate) fn maintenance_starts(&mut self, runtime: Handle, now: Time) {
        self.task = Some(MaintenanceTask {
            runtime,
            waker: None,
            wakes_at: Time::NEVER,
            woken_at: Some(now),
            kept_pool: None,
        });
        self.update_fast_paths();
    }

    /// The maintenance task has ended. Unless the pool is closed, its runtime has shut down, and
    /// all connections with it. The returned task must be dropped outside the lock.
    pub(crate) fn maintenance_ended(&mut self, now: Time) -> Option<MaintenanceTask> {
        let task = self.task.take();
        self.lost_a_runtime = true;
        self.generation = self.generation.saturating_add(1);
        self.update_fast_paths();
        self.retire_idle(CloseReason::RuntimeShutDown, now);
        for job in mem::take(&mut self.inbox) {
            match job {
                Job::Connect(attempt) => self.free(attempt.slot, now),
                Job::Checkin { held, .. } | Job::Validate(held) => {
                    self.retire(held, CloseReason::RuntimeShutDown, now)
                }
                Job::Complete(validation) => self.effects.discard(validation),
                Job::Close(held, reason) => self.retire(held, reason, now),
            }
        }
        // The first waiter that is polled again brings a new runtime.
        self.effects.extend(self.waiters.take_wakers().map(Effect::Wake));
        self.note_change();
        task
    }

    /// One turn of the maintenance task: everything that is due, and everything in the inbox.
    pub(crate) fn turn(&mut self, now: Time) -> Turn<C> {
        if let Some(task) = &mut self.task {
            task.woken_at = Some(now);
        }
        if self.idle.is_due(now) {
            self.sweep_ages(now);
        }
        self.sweep_surplus(now);
        self.open_more(now);
        let leaks = match self.config.report_after() {
            Some(age) if now.elapsed() >= age => self.slots.leaks(now.before(age), now),
            _ => Vec::new(),
        };
        for &Holder { id, location, held, .. } in &leaks {
            self.report(Event::Leaked { id, location, held });
        }
        let wakes_at = self.next_due(now);
        if let Some(task) = &mut self.task {
            task.woken_at = None;
            task.wakes_at = wakes_at;
        }
        self.check();
        let done = self.closed && self.inbox.is_empty() && self.slots.used() == 0;
        Turn { jobs: mem::take(&mut self.inbox), leaks, wakes_at, done }
    }

    /// Whether the maintenance task may sleep: it was not woken meanwhile. Its old waker is left in
    /// `waker`, which must be dropped outside the lock.
    pub(crate) fn try_sleep(&mut self, waker: &mut Option<Waker>) -> bool {
        let Some(task) = &mut self.task else { return true };
        let sleeps = task.woken_at.is_none() && self.inbox.is_empty();
        if sleeps {
            mem::swap(&mut task.waker, waker);
        }
        sleeps
    }

    pub(crate) fn wake_maintenance(&mut self, now: Time) {
        let Some(task) = &mut self.task else { return };
        if task.woken_at.is_none() {
            task.woken_at = Some(now);
            let waker = task.waker.take();
            self.wake(waker);
        }
    }

    /// Wakes the maintenance task if it would sleep beyond `due`.
    pub(crate) fn wake_by(&mut self, due: Time, now: Time) {
        if self.task.as_ref().is_some_and(|task| due < task.wakes_at) {
            self.wake_maintenance(now);
        }
    }
}
