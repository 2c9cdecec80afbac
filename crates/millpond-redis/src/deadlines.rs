//! How long an answer is waited for, without a timer for each command.
//!
//! Most answers come within microseconds, and a timer costs more than all else that is done for a command here. So a command
//! begins without one; if it is still under way when the watch comes by, at the latest after [`ROUND`], it is woken once and
//! sets its own. The watch is a thread of the process and not a task, since a task may be stuck behind one that blocks its
//! worker, and limits must hold then too. It sleeps while no command is under way. Every thread has a crowd of its own, so that
//! those of several cores do not wait for each other's memory.

use std::future::{Future, poll_fn};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How often the watch comes by.
const ROUND: Duration = Duration::from_millis(250);

/// The commands under way that one thread looked at first.
type Crowd = Mutex<Waiting>;

thread_local! {
    static MINE: Arc<Crowd> = Arc::default();
}

#[derive(Debug, Default)]
struct Waiting {
    places: Vec<Place>,
    /// Which places are free.
    free: Vec<usize>,
    /// Whether the watch comes by.
    watched: bool,
}

#[derive(Debug)]
enum Place {
    Free,
    /// It has no timer yet.
    Waits(Waker),
    /// It was told to set one.
    Rung,
}

/// Waits for an answer. `None` if it took longer than the limit.
///
/// # Cancel safety
///
/// The future may be dropped at any point.
pub(crate) async fn answer_within<F: Future>(limit: Duration, mut answer: Pin<&mut F>) -> Option<F::Output> {
    if limit < ROUND {
        return timeout(limit, answer).await.ok();
    }
    let since = Instant::now();
    let mut seat = Seat { taken: None };
    let outcome = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if seat.is_rung(cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    drop(seat);
    match outcome {
        Some(answer) => Some(answer),
        None => match since.checked_add(limit) {
            Some(end) => timeout_at(end, answer).await.ok(),
            None => Some(answer.await),
        },
    }
}

/// `None` if it took longer.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    timeout(limit, future).await.ok()
}

/// The place of one command, once it has one.
struct Seat {
    taken: Option<(Arc<Crowd>, usize)>,
}

impl Seat {
    /// Whether it is time for a timer of its own.
    fn is_rung(&mut self, cx: &Context<'_>) -> bool {
        let waker = cx.waker().clone();
        let (crowd, place) = match self.taken.take() {
            Some((crowd, place)) => (crowd, Some(place)),
            // While a thread ends it has none of its own.
            None => (MINE.try_with(Arc::clone).unwrap_or_default(), None),
        };
        let mut waiting = lock(&crowd);
        let place = place.unwrap_or_else(|| waiting.place());
        // What is displaced may be the last that is left of a task: it is dropped when the lock is released.
        let displaced = match waiting.places.get_mut(place) {
            Some(Place::Rung) | None => None,
            Some(held) => Some(mem::replace(held, Place::Waits(waker))),
        };
        let is_watched = displaced.is_none() || mem::replace(&mut waiting.watched, true);
        drop(waiting);
        let (crowd, _) = self.taken.insert((crowd, place));
        if !is_watched && !enlist(Arc::downgrade(crowd)) {
            // Others may count on the watch already: all set their timers.
            ring(crowd);
            return true;
        }
        displaced.is_none()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((crowd, place)) = self.taken.take() else { return };
        let mut waiting = lock(&crowd);
        waiting.free.push(place);
        let left = waiting.places.get_mut(place).map(|held| mem::replace(held, Place::Free));
        drop(waiting);
        drop(left);
    }
}

impl Waiting {
    fn place(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::Free);
            self.places.len().saturating_sub(1)
        })
    }
}

fn lock(waiting: &Crowd) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has everybody who waits set a timer. Whether anybody did; else the watch need not come again.
fn ring(waiting: &Crowd) -> bool {
    let mut waiting = lock(waiting);
    let mut wakers = Vec::new();
    for place in &mut waiting.places {
        if matches!(place, Place::Waits(_))
            && let Place::Waits(waker) = mem::replace(place, Place::Rung)
        {
            wakers.push(waker);
        }
    }
    waiting.watched = !wakers.is_empty();
    drop(waiting);
    let is_needed = !wakers.is_empty();
    for waker in wakers {
        // Whatever one waker does, the others' limits hold.
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
    is_needed
}

/// The watch of this process: a forked child has none of its threads.
static WATCH: Mutex<Option<(u32, Sender<Weak<Crowd>>)>> = Mutex::new(None);

/// Has the watch come by. `false` if there is none.
fn enlist(waiting: Weak<Crowd>) -> bool {
    let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    if watch.as_ref().is_none_or(|(process, _)| *process != process::id()) {
        let (sender, inbox) = channel();
        let thread = thread::Builder::new().name("millpond-redis".to_owned()).spawn(move || keep_watch(&inbox));
        *watch = thread.is_ok().then(|| (process::id(), sender));
    }
    watch.as_ref().is_some_and(|(_, sender)| sender.send(waiting).is_ok())
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which is not in any test")]
fn keep_watch(inbox: &Receiver<Weak<Crowd>>) {
    let mut watched = Vec::new();
    loop {
        if watched.is_empty() {
            match inbox.recv() {
                Ok(waiting) => watched.push(waiting),
                Err(_) => return,
            }
        }
        thread::sleep(ROUND);
        watched.extend(inbox.try_iter());
        watched.retain(|waiting| waiting.upgrade().is_some_and(|waiting| ring(&waiting)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::pin::pin;
    use tokio::sync::oneshot;

    const LIMIT: Duration = Duration::from_secs(2);

    fn under_way() -> usize {
        let crowd = MINE.with(Arc::clone);
        let waiting = lock(&crowd);
        waiting.places.len() - waiting.free.len()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_answered_ends_with_its_limit() {
        for limit in [LIMIT, ROUND / 2] {
            let since = Instant::now();
            let answer = answer_within(limit, pin!(std::future::pending::<()>())).await;
            assert_eq!(answer, None);
            assert_eq!(since.elapsed(), limit);
        }
        assert_eq!(under_way(), 0);
    }

    #[tokio::test]
    async fn an_answer_counts_before_the_watch_has_come_by_and_after_it() {
        for is_late in [false, true] {
            let (answer, receiver) = oneshot::channel();
            let mut receiver = pin!(receiver);
            let waiting = answer_within(LIMIT, receiver.as_mut());
            let answering = async {
                if is_late {
                    assert!(MINE.with(|mine| ring(mine)), "somebody waits");
                }
                answer.send("mill").unwrap();
            };
            let (heard, ()) = tokio::join!(waiting, answering);
            assert_eq!(heard, Some(Ok("mill")));
        }
        assert_eq!(under_way(), 0);
        assert!(!MINE.with(|mine| ring(mine)), "nobody is left");
    }

    #[tokio::test]
    async fn who_gives_up_early_leaves_his_place_to_the_next() {
        for _ in 0..3 {
            let mut never = pin!(std::future::pending::<()>());
            let mut cut = pin!(answer_within(LIMIT, never.as_mut()));
            assert!(cut.as_mut().now_or_never().is_none());
            assert_eq!(under_way(), 1);
        }
        assert_eq!(MINE.with(|mine| lock(mine).places.len()), 1);
        assert_eq!(under_way(), 0);
    }
}
