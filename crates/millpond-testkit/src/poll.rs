//! Futures polled an exact number of times, and dropped.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls the future `polls` times, each time after it was woken, as a runtime would; then drops it.
///
/// Returns the future's output, or `None` if it was dropped before it completed. Call it with 0, 1,
/// 2, .. until it returns `Some`: then the future has been cancelled at every point at which a
/// runtime can cancel it.
///
/// # Cancel safety
///
/// Dropping this future drops the given one.
pub async fn poll_n<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    cut(future, polls, false).await
}

/// Like [`poll_n`], but drops the future only after another wake-up: the event that woke it, for
/// example the hand-over of a connection, has already happened.
///
/// # Cancel safety
///
/// Dropping this future drops the given one.
pub async fn poll_n_woken<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    cut(future, polls, true).await
}

async fn cut<F: Future>(future: F, polls: usize, one_more_wake: bool) -> Option<F::Output> {
    let mut future = pin!(future);
    let wakes = Arc::new(Wakes::default());
    let (mut done, mut wakes_seen) = (0, 0);
    poll_fn(|cx| {
        // Only a wake-up of the future itself counts: the task may be woken for other reasons.
        let wakes_now = wakes.count.load(Ordering::SeqCst);
        if done > 0 && wakes_now == wakes_seen {
            return Poll::Pending;
        }
        wakes_seen = wakes_now;
        if done == polls {
            return Poll::Ready(None);
        }
        done += 1;
        let waker =
            Waker::from(Arc::new(Relay { wakes: Arc::clone(&wakes), task: cx.waker().clone() }));
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if done == polls && !one_more_wake => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Counts wake-ups and forwards them to the task.
struct Relay {
    wakes: Arc<Wakes>,
    task: Waker,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wakes.count.fetch_add(1, Ordering::SeqCst);
        self.task.wake_by_ref();
    }
}

/// A future that the test polls itself, outside any task, to observe its wake-ups.
///
/// ```
/// use millpond_testkit::ByHand;
/// use std::task::Poll;
///
/// let (send, receive) = tokio::sync::oneshot::channel();
/// let mut receive = ByHand::new(receive);
/// assert!(receive.poll().is_pending());
/// assert_eq!(receive.wakes(), 0);
/// send.send(7).unwrap();
/// assert_eq!(receive.wakes(), 1);
/// assert_eq!(receive.poll(), Poll::Ready(Ok(7)));
/// ```
#[derive(Debug)]
pub struct ByHand<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Debug, Default)]
struct Wakes {
    count: AtomicUsize,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}

impl<F: Future> ByHand<F> {
    /// Wraps a future without polling it.
    pub fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    /// Polls the future once.
    pub fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Returns how many times the future was woken so far.
    pub fn wakes(&self) -> usize {
        self.wakes.count.load(Ordering::SeqCst)
    }
}
