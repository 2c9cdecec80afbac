//! Acquires that are polled by hand: waiters in the queue without a task.

use crate::competitor::Competitor;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Polls once, with the waker of the current task.
pub async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Adds this many waiters to the queue of a pool that has no connection to lend.
pub async fn park<'p, P: Competitor>(
    pool: &'p P,
    waiters: usize,
) -> Vec<Pin<Box<impl Future<Output = P::Lease<'p>> + use<'p, P>>>> {
    let mut parked = Vec::with_capacity(waiters);
    for _ in 0..waiters {
        let mut acquire = Box::pin(pool.acquire());
        assert!(poll_once(acquire.as_mut()).await.is_pending(), "{} has nothing to lend", P::NAME);
        parked.push(acquire);
    }
    parked
}
