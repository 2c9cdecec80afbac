//! A stream whose items are produced by a future, in safe code, without a channel or read-ahead.
//!
//! The future and the stream share a cell for one item. [`Outlet::put`] fills it and suspends the
//! future; the stream, which has just polled the future, takes the item out and returns it. The
//! next poll of the stream resumes the future. So the future can own a connection and borrow from
//! it across its items, which a hand-written stream could do only with unsafe code, and dropping
//! the stream drops everything in the future in the usual order.

use futures_core::Stream;
use futures_core::future::BoxFuture;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

/// Makes a stream of the items that `work` puts into its outlet. An error of `work` is the last
/// item.
pub(crate) fn generate<'a, T, E, W, F>(work: W) -> Generated<'a, T, E>
where
    T: Send + 'a,
    W: FnOnce(Outlet<T>) -> F,
    F: Future<Output = Result<(), E>> + Send + 'a,
{
    let slot = Arc::new(Mutex::new(None));
    let work = work(Outlet { slot: Arc::clone(&slot) });
    Generated { slot, work: Some(Box::pin(work)) }
}

/// Where the future puts its items.
pub(crate) struct Outlet<T> {
    slot: Arc<Mutex<Option<T>>>,
}

impl<T> Outlet<T> {
    /// Yields one item and waits until the consumer polls for the next one. Must be awaited only
    /// inside the future passed to [`generate`]: elsewhere nothing would wake it.
    pub(crate) async fn put(&self, item: T) {
        let mut item = Some(item);
        poll_fn(|_| {
            let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            match (slot.is_none(), item.take()) {
                (true, None) => Poll::Ready(()),
                (true, fresh) => {
                    *slot = fresh;
                    Poll::Pending
                }
                (false, waiting) => {
                    item = waiting;
                    Poll::Pending
                }
            }
        })
        .await;
    }
}

/// The stream of [`generate`].
pub(crate) struct Generated<'a, T, E> {
    slot: Arc<Mutex<Option<T>>>,
    /// `None` once it has ended.
    work: Option<BoxFuture<'a, Result<(), E>>>,
}

impl<T, E> Stream for Generated<'_, T, E> {
    type Item = Result<T, E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        let polled = work.as_mut().poll(cx);
        let item = self.slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(item) = item {
            // The future cannot have ended as well, since `put` suspends it.
            return Poll::Ready(Some(Ok(item)));
        }
        let ended = ready!(polled);
        self.work = None;
        Poll::Ready(ended.err().map(Err))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt};
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn items_come_in_order_and_the_stream_ends() {
        let stream = generate(|out| async move {
            for n in 0..3 {
                out.put(n).await;
            }
            Ok::<(), ()>(())
        });
        let items: Vec<_> = stream.collect().now_or_never().unwrap();
        assert_eq!(items, [Ok(0), Ok(1), Ok(2)]);
    }

    #[test]
    fn an_error_is_the_last_item() {
        let stream = generate(|out| async move {
            out.put(1).await;
            Err("broken")
        });
        let items: Vec<_> = stream.collect().now_or_never().unwrap();
        assert_eq!(items, [Ok(1), Err("broken")]);
    }

    #[test]
    fn a_stream_that_has_ended_stays_ended() {
        let mut stream = generate(|_out: Outlet<u8>| async { Ok::<(), ()>(()) });
        assert_eq!(stream.next().now_or_never(), Some(None));
        assert_eq!(stream.next().now_or_never(), Some(None));
    }

    #[test]
    fn nothing_runs_ahead_of_the_consumer() {
        let made = AtomicU32::new(0);
        let mut stream = generate(|out| async {
            let out = out;
            for n in 0..3 {
                made.fetch_add(1, Ordering::Relaxed);
                out.put(n).await;
            }
            Ok::<(), ()>(())
        });
        assert_eq!(made.load(Ordering::Relaxed), 0);
        assert_eq!(stream.next().now_or_never(), Some(Some(Ok(0))));
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn dropped_midway_it_drops_what_the_future_holds_in_order() {
        struct Note<'a>(&'static str, &'a Mutex<Vec<&'static str>>);
        impl Drop for Note<'_> {
            fn drop(&mut self) {
                self.1.lock().unwrap().push(self.0);
            }
        }
        let dropped = Mutex::new(Vec::new());
        let mut stream = generate(|out| async {
            let out = out;
            let _connection = Note("connection", &dropped);
            let _rows = Note("rows", &dropped);
            out.put(1).await;
            out.put(2).await;
            Ok::<(), ()>(())
        });
        assert_eq!(stream.next().now_or_never(), Some(Some(Ok(1))));
        drop(stream);
        assert_eq!(*dropped.lock().unwrap(), ["rows", "connection"]);
    }

    #[test]
    fn a_future_that_waits_for_something_else_makes_the_stream_wait() {
        let mut stream = generate(|out| async move {
            let mut polled = false;
            poll_fn(|_| {
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            out.put(1).await;
            Ok::<(), ()>(())
        });
        assert_eq!(stream.next().now_or_never(), None);
        assert_eq!(stream.next().now_or_never(), Some(Some(Ok(1))));
    }
}
