//! The cost of one checkout: uncontended, with `try_acquire`, in pools of every size, and with as
//! many tasks as connections.

use benches::tasks::{Hold, work};
use benches::{NoOp, filled};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millpond_core::QueuePool;
use std::hint::black_box;
use tokio::runtime::Runtime;

fn pool() -> QueuePool<NoOp> {
    QueuePool::builder(NoOp).max_overflow(0).build().expect("the defaults are in range")
}

/// Measures an uncontended acquire and return.
fn uncontended(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let pool = pool();
    c.bench_function("uncontended", |b| {
        b.to_async(&runtime).iter(|| async {
            let lease = pool.acquire().await.expect("nobody else wants one");
            black_box(*lease)
        });
    });
}

/// Measures `try_acquire`, which needs no future.
fn try_acquire(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let pool = runtime.block_on(filled(10));
    c.bench_function("try_acquire", |b| {
        b.iter(|| pool.try_acquire().map(|lease| black_box(*lease)));
    });
    let _lent: Vec<_> = std::iter::from_fn(|| pool.try_acquire()).collect();
    c.bench_function("try_acquire refused", |b| b.iter(|| pool.try_acquire().is_none()));
}

/// Measures an acquire by the size of the pool, which must make no difference.
fn sizes(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("pool size");
    for places in [1, 10, 100, 1_000, 10_000] {
        let pool = runtime.block_on(filled(places));
        group.bench_with_input(BenchmarkId::from_parameter(places), &pool, |b, pool| {
            b.to_async(&runtime)
                .iter(|| async { pool.acquire().await.map(|lease| black_box(*lease)) });
        });
    }
    group.finish();
}

/// Measures tasks on ten connections that each hold theirs over one yield: as many tasks as
/// connections, and more.
fn contended(c: &mut Criterion) {
    const TURNS: u32 = 100;
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("hold over a yield");
    for tasks in [10, 64, 256] {
        let pool = pool();
        group.throughput(Throughput::Elements(u64::from(tasks * TURNS)));
        group.bench_function(format!("{tasks} tasks"), |b| {
            b.to_async(&runtime).iter(|| work(&pool, tasks, TURNS, Hold::Yield));
        });
    }
    group.finish();
}

criterion_group!(checkout, uncontended, try_acquire, sizes, contended);
criterion_main!(checkout);
