//! What millpond's pools need from tokio and the machine: clocks, timers, tasks, the pool's lock,
//! histograms, and guards against panics in foreign code.
//!
//! This crate is internal to millpond, and its content follows the needs of the other crates.
//! `millpond-core` uses neither tokio nor a lock implementation directly, only this crate.
//!
//! ```
//! use millpond_runtime::{Clock, sleep, until};
//! use std::time::Duration;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let clock = Clock::start();
//! let limit = Duration::from_millis(5);
//! assert_eq!(until(sleep(limit), std::future::pending::<()>()).await, None);
//! assert!(clock.now().elapsed() >= limit);
//! # });
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod deadline_thread;
mod histogram;
pub mod lock;
mod panics;
mod time;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

pub use deadline_thread::TIMER_AFTER;
pub use histogram::Histogram;
pub use panics::{catch_panic, drop_catching_panic};
pub use time::Time;
/// A handle to a tokio runtime: tokio's own.
pub use tokio::runtime::Handle;

/// The number of a tokio task.
pub type TaskId = tokio::task::Id;

/// The longest timer: thirty years, which every clock can represent.
const MAX_TIMER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// The largest error of the coarse clock. The kernel advances it at each tick, every 1 to 10 ms; on
/// a machine with an overloaded core it was 20 ms late.
pub const COARSE_ERROR: Duration = Duration::from_millis(50);

/// How many acquires share one unit of a task's cooperative budget of 128: a task that does nothing
/// else still lets others run several times per millisecond, and an acquire only pays for a
/// counter.
const POLLS_PER_BUDGET_UNIT: u8 = 16;

thread_local! {
    static POLLS: Cell<u8> = const { Cell::new(0) };
}

/// Takes part in tokio's cooperative scheduling, once in `POLLS_PER_BUDGET_UNIT` calls. Returns
/// `Pending` if the task has run for long; it is woken again after others had their turn.
#[inline]
pub fn cooperate(cx: &mut Context<'_>) -> Poll<()> {
    let polls = POLLS.try_with(|polls| polls.replace(polls.get().wrapping_add(1)));
    if polls.is_ok_and(|polls| polls.is_multiple_of(POLLS_PER_BUDGET_UNIT)) {
        take_budget(cx)
    } else {
        Poll::Ready(())
    }
}

#[cold]
fn take_budget(cx: &mut Context<'_>) -> Poll<()> {
    pin!(tokio::task::consume_budget()).poll(cx)
}

/// Lets other tasks run.
pub async fn yield_now() {
    tokio::task::yield_now().await;
}

/// Returns the runtime of the calling thread.
pub fn current() -> Option<Handle> {
    Handle::try_current().ok()
}

/// Returns the current task; `None` in the body of `block_on`.
#[inline]
pub fn task() -> Option<TaskId> {
    tokio::task::try_id()
}

/// Spawns a task that runs until it ends or its runtime does.
pub fn spawn(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
    runtime.spawn(task);
}

/// A pool's clock: tokio's, so that a paused clock pauses the pool, and a coarse one for ages.
#[derive(Debug)]
pub struct Clock {
    origin: tokio::time::Instant,
    coarse_origin: u64,
    /// True once tokio's clock was found to be paused: from then on only it is read.
    paused: AtomicBool,
}

/// Reads the coarse clock in nanoseconds. Without the 128-bit product and the checks of
/// coarsetime's own conversion, a lap of `uncontended` takes 4 % less.
#[inline]
fn coarse_nanos() -> u64 {
    let ticks = coarsetime::Instant::now_without_cache_update().as_ticks();
    let span = coarsetime::Duration::from_ticks(ticks);
    span.as_secs().wrapping_mul(1_000_000_000).wrapping_add(span.subsec_nanos().into())
}

impl Clock {
    /// Starts a clock at zero.
    pub fn start() -> Self {
        let clock = Self {
            origin: tokio::time::Instant::now(),
            coarse_origin: coarse_nanos(),
            paused: AtomicBool::new(false),
        };
        clock.detect_pause();
        clock
    }

    /// Returns the exact time.
    pub fn now(&self) -> Time {
        Time::at(tokio::time::Instant::now().saturating_duration_since(self.origin))
    }

    /// Returns the time to within [`COARSE_ERROR`], early or late: exact enough for ages, not for a
    /// deadline.
    #[inline]
    pub fn coarse(&self) -> Time {
        if self.paused.load(Ordering::Relaxed) {
            return self.now();
        }
        Time::at_nanos(coarse_nanos().wrapping_sub(self.coarse_origin))
    }

    /// Returns true if tokio's clock was found to be paused.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Checks whether tokio's clock is paused while the machine's goes on, as in tests that pause
    /// it.
    pub fn detect_pause(&self) {
        if self.paused.load(Ordering::Relaxed) {
            return;
        }
        let (before, start) = (tokio::time::Instant::now(), std::time::Instant::now());
        while std::time::Instant::now() == start {
            std::hint::spin_loop();
        }
        if tokio::time::Instant::now() == before {
            self.paused.store(true, Ordering::Relaxed);
        }
    }

    /// Returns a timer that elapses at `deadline`, on the calling thread's runtime or else on
    /// `runtime`; `None` if neither has a timer.
    pub fn timer(&self, deadline: Time, runtime: impl FnOnce() -> Option<Handle>) -> Option<Timer> {
        let at = self.origin.checked_add(deadline.elapsed().min(MAX_TIMER))?;
        // A runtime without a timer panics here; the panic must not reach the caller.
        let make = || catch_unwind(|| Timer(Box::pin(tokio::time::sleep_until(at)))).ok();
        if current().is_some()
            && let Some(timer) = make()
        {
            return Some(timer);
        }
        let runtime = runtime()?;
        let _entered = runtime.enter();
        make()
    }
}

/// Returns true if a runtime has its timer enabled; without it no time limit could be kept.
pub fn has_timer(runtime: &Handle) -> bool {
    let _entered = runtime.enter();
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

/// A timer on a runtime.
#[derive(Debug)]
pub struct Timer(Pin<Box<tokio::time::Sleep>>);

impl Timer {
    /// Returns true if the timer has elapsed; if not, the task is woken when it does. Returns
    /// `None` if the timer's runtime has shut down.
    pub fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        // tokio reports that with a panic.
        catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx).is_ready())).ok()
    }
}

/// Sleeps for this time. The timer is created at the first poll, which must be inside a runtime.
pub async fn sleep(span: Duration) {
    tokio::time::sleep(span.min(MAX_TIMER)).await;
}

/// The concurrent jobs of a maintenance task. Dropping this drops the jobs.
#[derive(Debug, Default)]
pub struct Jobs(tokio::task::JoinSet<()>);

impl Jobs {
    /// Starts a job on the current runtime.
    pub fn start(&mut self, job: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(job);
    }

    /// Removes jobs that have ended; the task is woken when another one ends.
    pub fn reap(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.0.poll_join_next(cx) {}
    }
}

/// A number that only grows, and wakes all tasks that wait for it.
#[derive(Debug, Default)]
pub struct Signal(tokio::sync::watch::Sender<u64>);

impl Signal {
    /// Raises the number to `to`, unless it is as high already.
    pub fn raise(&self, to: u64) {
        self.0.send_if_modified(|level| to > std::mem::replace(level, to.max(*level)));
    }

    /// Waits until the number is above `level`.
    pub async fn raised_above(&self, level: u64) {
        let mut seen = self.0.subscribe();
        // The sender is owned by `self`, so this cannot fail.
        let _ = seen.wait_for(|raised| *raised > level).await;
    }
}

/// Runs `future` until `end` completes; returns `None` if `end` was first.
pub async fn until<F: Future>(end: impl Future<Output = ()>, future: F) -> Option<F::Output> {
    let (mut end, mut future) = (pin!(end), pin!(future));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        end.as_mut().poll(cx).map(|()| None)
    })
    .await
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
