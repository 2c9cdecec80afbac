//! Limits of time, without a timer for each command.
//!
//! Most answers arrive within microseconds, and a timer costs more than everything else that is
//! done for a command here. So a command starts without one. If it is still under way when the
//! deadline thread of the process comes by, at the latest after [`TIMER_AFTER`], it is woken once
//! and sets its own timer. Every thread registers its commands in a list of its own, so that
//! threads on several cores do not contend for one lock.

use millpond_runtime::catch_panic;
use millpond_runtime::deadline_thread::{TIMER_AFTER, register};
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// The commands under way that were first polled on one thread.
type Commands = Mutex<Entries>;

thread_local! {
    static OF_THIS_THREAD: Arc<Commands> = Arc::default();
}

#[derive(Debug, Default)]
struct Entries {
    entries: Vec<Entry>,
    /// The indexes of free entries.
    free: Vec<usize>,
    /// Whether the deadline thread comes by.
    watched: bool,
}

#[derive(Debug)]
enum Entry {
    Free,
    /// A command without a timer.
    Waiting(Waker),
    /// A command that was woken to set its timer.
    Woken,
}

/// Waits for an answer. Returns `None` if it took longer than the limit.
///
/// # Cancel safety
///
/// The future may be dropped at any point.
pub(crate) async fn answer_within<F: Future>(
    limit: Duration,
    mut answer: Pin<&mut F>,
) -> Option<F::Output> {
    if limit < TIMER_AFTER {
        return timeout(limit, answer).await.ok();
    }
    let since = Instant::now();
    let mut registration = Registration::default();
    let outcome = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if registration.needs_timer(cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    drop(registration);
    match outcome {
        Some(answer) => Some(answer),
        None => match since.checked_add(limit) {
            Some(end) => timeout_at(end, answer).await.ok(),
            None => Some(answer.await),
        },
    }
}

/// Returns `None` if the future took longer than the limit.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    timeout(limit, future).await.ok()
}

/// The entry of one command, from its first poll on.
#[derive(Default)]
struct Registration {
    entry: Option<(Arc<Commands>, usize)>,
}

impl Registration {
    /// Registers the command for its next wake-up. Returns whether it must set a timer of its own
    /// instead.
    fn needs_timer(&mut self, cx: &Context<'_>) -> bool {
        let waker = cx.waker().clone();
        let (commands, at) = match self.entry.take() {
            Some((commands, at)) => (commands, Some(at)),
            // A thread that is ending has no list any more.
            None => (OF_THIS_THREAD.try_with(Arc::clone).unwrap_or_default(), None),
        };
        let mut entries = lock(&commands);
        let at = at.unwrap_or_else(|| entries.vacant());
        // A displaced waker may be the last handle to a task: it is dropped after the lock is
        // released.
        let displaced = match entries.entries.get_mut(at) {
            Some(Entry::Woken) | None => None,
            Some(entry) => Some(mem::replace(entry, Entry::Waiting(waker))),
        };
        let is_watched = displaced.is_none() || mem::replace(&mut entries.watched, true);
        drop(entries);
        let (commands, _) = self.entry.insert((commands, at));
        if !is_watched {
            let watched = Arc::downgrade(commands);
            if !register(Box::new(move || {
                watched.upgrade().is_some_and(|commands| wake_all(&commands))
            })) {
                // There is no deadline thread, and others may already count on it: all set their
                // timers.
                wake_all(commands);
                return true;
            }
        }
        displaced.is_none()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some((commands, at)) = self.entry.take() else { return };
        let mut entries = lock(&commands);
        entries.free.push(at);
        let left = entries.entries.get_mut(at).map(|entry| mem::replace(entry, Entry::Free));
        drop(entries);
        drop(left);
    }
}

impl Entries {
    /// The index of an entry that no command uses.
    fn vacant(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::Free);
            self.entries.len().saturating_sub(1)
        })
    }
}

fn lock(commands: &Commands) -> MutexGuard<'_, Entries> {
    commands.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes every command that has no timer yet. Returns whether there was one; if not, the deadline
/// thread need not come again.
fn wake_all(commands: &Commands) -> bool {
    let mut entries = lock(commands);
    let mut wakers = Vec::new();
    for entry in &mut entries.entries {
        if matches!(entry, Entry::Waiting(_))
            && let Entry::Waiting(waker) = mem::replace(entry, Entry::Woken)
        {
            wakers.push(waker);
        }
    }
    entries.watched = !wakers.is_empty();
    drop(entries);
    let is_needed = !wakers.is_empty();
    for waker in wakers {
        // A waker that panics must not cost the other commands their limits.
        let _ = catch_panic(|| waker.wake());
    }
    is_needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;
    use tokio::sync::oneshot;

    const LIMIT: Duration = Duration::from_secs(2);

    fn under_way() -> usize {
        let commands = OF_THIS_THREAD.with(Arc::clone);
        let entries = lock(&commands);
        entries.entries.len() - entries.free.len()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_ends_with_its_limit() {
        for limit in [LIMIT, TIMER_AFTER / 2] {
            let since = Instant::now();
            let answer = answer_within(limit, pin!(std::future::pending::<()>())).await;
            assert_eq!(answer, None);
            assert_eq!(since.elapsed(), limit);
        }
        assert_eq!(under_way(), 0);
    }

    #[tokio::test]
    async fn an_answer_counts_before_the_deadline_thread_has_come_by_and_after_it() {
        for is_late in [false, true] {
            let (answer, receiver) = oneshot::channel();
            let mut receiver = pin!(receiver);
            let waiting = answer_within(LIMIT, receiver.as_mut());
            let answering = async {
                if is_late {
                    assert!(OF_THIS_THREAD.with(|commands| wake_all(commands)), "somebody waits");
                }
                answer.send("mill").unwrap();
            };
            let (heard, ()) = tokio::join!(waiting, answering);
            assert_eq!(heard, Some(Ok("mill")));
        }
        assert_eq!(under_way(), 0);
        assert!(!OF_THIS_THREAD.with(|commands| wake_all(commands)), "nobody is left");
    }

    #[tokio::test]
    async fn a_command_that_is_dropped_leaves_its_entry_to_the_next() {
        for _ in 0..3 {
            let mut never = pin!(std::future::pending::<()>());
            let mut cut = pin!(answer_within(LIMIT, never.as_mut()));
            assert!(cut.as_mut().now_or_never().is_none());
            assert_eq!(under_way(), 1);
        }
        assert_eq!(OF_THIS_THREAD.with(|commands| lock(commands).entries.len()), 1);
        assert_eq!(under_way(), 0);
    }
}
