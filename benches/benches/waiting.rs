//! The cost of waiting, by how long connections are held and by the number of waiters.

use benches::filled;
use benches::tasks::{Hold, work};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

/// Measures sixty-four tasks on ten connections, by how long each connection is held.
fn holds(c: &mut Criterion) {
    const TASKS: u32 = 64;
    let runtime = Runtime::new().expect("a runtime");
    let pool = runtime.block_on(filled(10));
    let mut group = c.benchmark_group("64 tasks on 10");
    let spans = [
        ("no hold", Hold::Not, 100),
        ("one yield", Hold::Yield, 100),
        ("50 us", Hold::Span(Duration::from_micros(50)), 20),
        ("1 ms", Hold::Span(Duration::from_millis(1)), 2),
    ];
    for (name, hold, turns) in spans {
        group.throughput(Throughput::Elements(u64::from(TASKS * turns)));
        group.bench_function(name, |b| {
            b.to_async(&runtime).iter(|| work(&pool, TASKS, turns, hold))
        });
    }
    group.finish();
}

/// Measures serving the oldest of this many waiters, which then joins the end of the queue again.
fn queue_lengths(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("served behind waiters");
    for waiters in [1, 10, 100, 1_000, 10_000, 100_000] {
        group.bench_with_input(BenchmarkId::from_parameter(waiters), &waiters, |b, &waiters| {
            b.iter_custom(|iterations| runtime.block_on(serve(waiters, iterations)));
        });
    }
    group.finish();
}

async fn serve(waiters: usize, iterations: u64) -> Duration {
    let pool = filled(1).await;
    let mut lease = pool.acquire().await.expect("nobody else wants it");
    let mut queue = VecDeque::with_capacity(waiters);
    let join = async |queue: &mut VecDeque<_>| {
        let mut acquire = Box::pin(pool.acquire());
        poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx).is_pending())).await;
        queue.push_back(acquire);
    };
    for _ in 0..waiters {
        join(&mut queue).await;
    }
    let began = Instant::now();
    for _ in 0..iterations {
        drop(lease);
        let oldest = queue.pop_front().expect("somebody always waits");
        lease = oldest.await.expect("it is the turn of the oldest");
        join(&mut queue).await;
    }
    let took = began.elapsed();
    drop(lease);
    took
}

/// Measures only the hand-over: a lease that is returned while one caller waits, without other
/// tasks.
fn hand_over(c: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let pool = runtime.block_on(filled(1));
    c.bench_function("hand over to a waiter", |b| {
        b.to_async(&runtime).iter_batched(
            || (),
            |()| async {
                let lease = pool.acquire().await;
                let mut waiter = pin!(pool.acquire());
                poll_fn(|cx| Poll::Ready(waiter.as_mut().poll(cx).is_pending())).await;
                drop(lease);
                drop(waiter.await);
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(waiting, holds, queue_lengths, hand_over);
criterion_main!(waiting);
