//! The cost of cancelling a wait: at the end of a queue, and anywhere in it.

use benches::{NoOp, filled};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use millpond_core::{Acquire, QueuePool};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

const LENGTHS: [usize; 6] = [1, 10, 100, 1_000, 10_000, 100_000];

type Waiter = Pin<Box<Acquire<NoOp>>>;

async fn join(pool: &QueuePool<NoOp>) -> Waiter {
    let mut acquire = Box::pin(pool.acquire());
    let waits = poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx).is_pending())).await;
    assert!(waits, "the only connection is out");
    acquire
}

/// Measures a waiter that joins a queue of this length and is cancelled.
fn newest(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("join and leave behind waiters");
    for waiters in LENGTHS {
        group.bench_with_input(BenchmarkId::from_parameter(waiters), &waiters, |b, &waiters| {
            b.iter_custom(|iterations| runtime.block_on(join_and_leave(waiters, iterations)));
        });
    }
    group.finish();
}

async fn join_and_leave(waiters: usize, iterations: u64) -> Duration {
    let pool = filled(1).await;
    let _lease = pool.acquire().await;
    let mut queue = Vec::with_capacity(waiters);
    for _ in 0..waiters {
        queue.push(join(&pool).await);
    }
    let began = Instant::now();
    for _ in 0..iterations {
        drop(join(&pool).await);
    }
    began.elapsed()
}

/// Measures cancelling all waiters of a queue, out of order; the result is the time per waiter.
fn anywhere(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("cancel one of waiters");
    for waiters in LENGTHS {
        group.bench_with_input(BenchmarkId::from_parameter(waiters), &waiters, |b, &waiters| {
            b.iter_custom(|iterations| runtime.block_on(cancel(waiters, iterations)));
        });
    }
    group.finish();
}

async fn cancel(waiters: usize, iterations: u64) -> Duration {
    let pool = filled(1).await;
    let _lease = pool.acquire().await;
    let mut queue: Vec<Option<Waiter>> = Vec::new();
    queue.resize_with(waiters, || None);
    let (mut spent, mut done) = (Duration::ZERO, 0);
    while done < iterations {
        for place in &mut queue {
            *place = Some(join(&pool).await);
        }
        let began = Instant::now();
        // A stride without a common factor with the number of waiters visits each waiter once.
        for step in 0..waiters {
            drop(queue[step * 7_919 % waiters].take());
        }
        spent += began.elapsed();
        done += waiters as u64;
    }
    // More waiters may have been cancelled than `iterations`.
    spent.mul_f64(iterations as f64 / done as f64)
}

criterion_group!(cancelling, newest, anywhere);
criterion_main!(cancelling);
