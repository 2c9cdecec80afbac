//! The cost of hooks and observers: none, one and three hooks; metrics and observers off and on.

use benches::NoOp;
use criterion::{Criterion, criterion_group, criterion_main};
use millpond_core::{Event, EventContext, QueuePool};
use millpond_metrics::PoolMetrics;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Measures an acquire with this many checkout hooks that do nothing.
fn hooks(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("on_checkout hooks");
    for count in [0, 1, 3] {
        let mut builder = QueuePool::builder(NoOp).max_overflow(0);
        for _ in 0..count {
            builder = builder.on_checkout(|conn, _| {
                black_box(conn);
                Box::pin(async { Ok(()) })
            });
        }
        let pool = builder.build().expect("the defaults are in range");
        group.bench_function(count.to_string(), |b| {
            b.to_async(&runtime)
                .iter(|| async { pool.acquire().await.map(|lease| black_box(*lease)) });
        });
    }
    group.finish();
}

/// Measures an acquire without an observer, with metrics, and with an observer of every event.
fn observer(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("observer");
    let seen = AtomicU64::new(0);
    let counts = move |event: &Event, _: &EventContext<'_>| {
        black_box(event);
        seen.fetch_add(1, Ordering::Relaxed);
    };
    let plain = || QueuePool::builder(NoOp).max_overflow(0);
    let metrics = plain().observer(PoolMetrics::manual());
    for (name, builder) in
        [("off", plain()), ("metrics", metrics), ("every event", plain().observer(counts))]
    {
        let pool = builder.build().expect("the defaults are in range");
        group.bench_function(name, |b| {
            b.to_async(&runtime)
                .iter(|| async { pool.acquire().await.map(|lease| black_box(*lease)) });
        });
    }
    group.finish();
}

criterion_group!(watching, hooks, observer);
criterion_main!(watching);
