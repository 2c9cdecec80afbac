//! The runtime: the only file that names tokio.

pub mod deadline_thread;
pub(crate) mod lock;
pub(crate) mod panics;
pub(crate) mod time;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

pub(crate) use deadline_thread::TIMER_AFTER;
pub(crate) use panics::{catch_panic, drop_catching_panic};
pub(crate) use time::Time;
/// A handle to a tokio runtime: tokio's own.
pub use tokio::runtime::Handle;

pub(crate) type TaskId = tokio::task::Id;

/// The longest timer: thirty years, which every clock can represent.
const MAX_TIMER: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);

/// By how much the coarse clock may be wrong. The kernel moves it at each tick, every 1 to 10 ms;
/// on a machine that had lost a core to others for a while it was seen to be 20 ms late.
pub(crate) const COARSE_ERROR: Duration = Duration::from_millis(50);

/// How many acquires share one unit of a task's cooperative budget of 128: a task that does nothing
/// else lets others run several times a millisecond, and an acquire pays for a count.
const POLLS_PER_BUDGET_UNIT: u8 = 16;

thread_local! {
    static POLLS: Cell<u8> = const { Cell::new(0) };
}

/// Takes part in tokio's cooperative scheduling, once in [`POLLS_PER_BUDGET_UNIT`] calls. Pending:
/// the task has gone on for long, and is woken again when others have had their turn.
#[inline]
pub(crate) fn cooperate(cx: &mut Context<'_>) -> Poll<()> {
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

pub(crate) async fn yield_now() {
    tokio::task::yield_now().await;
}

pub(crate) fn current() -> Option<Handle> {
    Handle::try_current().ok()
}

#[inline]
pub(crate) fn task() -> Option<TaskId> {
    tokio::task::try_id()
}

/// Runs a task of its own, for ever or until its runtime ends.
pub(crate) fn spawn(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
    runtime.spawn(task);
}

/// The pool's clock: tokio's, so that a paused clock pauses the pool. For ages there is a coarse
/// one beside it.
#[derive(Debug)]
pub(crate) struct Clock {
    origin: tokio::time::Instant,
    coarse_origin: coarsetime::Instant,
    /// Whether tokio's clock was ever seen to be paused: from then on only it is read.
    paused: AtomicBool,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let clock = Self {
            origin: tokio::time::Instant::now(),
            coarse_origin: coarsetime::Instant::now_without_cache_update(),
            paused: AtomicBool::new(false),
        };
        clock.detect_pause();
        clock
    }

    pub(crate) fn now(&self) -> Time {
        Time::at(tokio::time::Instant::now().saturating_duration_since(self.origin))
    }

    /// The time to within [`COARSE_ERROR`], early or late: good enough for ages, not for a
    /// deadline.
    #[inline]
    pub(crate) fn coarse(&self) -> Time {
        if self.paused.load(Ordering::Relaxed) {
            return self.now();
        }
        let now = coarsetime::Instant::now_without_cache_update();
        Time::at_nanos(now.duration_since(self.coarse_origin).as_nanos())
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Notes whether tokio's clock is paused while the machine's goes on, as in tests that pause
    /// it.
    pub(crate) fn detect_pause(&self) {
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

    /// A timer that elapses at `deadline`, on the calling thread's runtime, else on `runtime`.
    /// `None` if neither has a timer.
    pub(crate) fn timer(
        &self,
        deadline: Time,
        runtime: impl FnOnce() -> Option<Handle>,
    ) -> Option<Timer> {
        let at = self.origin.checked_add(deadline.elapsed().min(MAX_TIMER))?;
        // A runtime without a timer panics here; that must not reach the caller.
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

/// Whether a runtime has its timer enabled: without, nothing could ever be given up in time.
pub(crate) fn has_timer(runtime: &Handle) -> bool {
    let _entered = runtime.enter();
    catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok()
}

#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<tokio::time::Sleep>>);

impl Timer {
    /// Whether it has elapsed; if not, the task is woken when it does. `None`: the runtime that it
    /// was set on has shut down.
    pub(crate) fn poll_elapsed(&mut self, cx: &mut Context<'_>) -> Option<bool> {
        // tokio says so by a panic.
        catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx).is_ready())).ok()
    }
}

/// Sleeps; the timer is made when this is first polled, which must be inside a runtime.
pub(crate) async fn sleep(span: Duration) {
    tokio::time::sleep(span.min(MAX_TIMER)).await;
}

/// The jobs of a maintenance task, side by side. Dropping it drops them.
#[derive(Debug, Default)]
pub(crate) struct Jobs(tokio::task::JoinSet<()>);

impl Jobs {
    pub(crate) fn start(&mut self, job: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(job);
    }

    pub(crate) fn reap(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(_)) = self.0.poll_join_next(cx) {}
    }
}

/// A number that only grows, and wakes all that wait for it.
#[derive(Debug)]
pub(crate) struct Signal(tokio::sync::watch::Sender<u64>);

impl Signal {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::watch::Sender::new(0))
    }

    pub(crate) fn raise(&self, to: u64) {
        self.0.send_if_modified(|level| to > std::mem::replace(level, to.max(*level)));
    }

    pub(crate) async fn raised_above(&self, level: u64) {
        let mut seen = self.0.subscribe();
        // The sender lives in `self`: an error cannot come.
        let _ = seen.wait_for(|raised| *raised > level).await;
    }
}

/// Runs `future` until `end` ends; `None` if that was first.
pub(crate) async fn until<F: Future>(
    end: impl Future<Output = ()>,
    future: F,
) -> Option<F::Output> {
    let (mut end, mut future) = (pin!(end), pin!(future));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        end.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// A runtime on which nothing ever runs and whose clock is paused, for what tests drive by hand.
#[cfg(test)]
pub(crate) fn paused_runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        builder
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without I/O asks for nothing")
    })
}
