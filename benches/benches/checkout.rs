//! What one checkout costs: alone, and with many tasks that want few connections.

use benches::NoOp;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use millpond_core::QueuePool;
use std::hint::black_box;
use tokio::runtime::Runtime;
use tokio::task::{JoinSet, yield_now};

fn pool() -> QueuePool<NoOp> {
    QueuePool::builder(NoOp).max_overflow(0).build().expect("the defaults are in range")
}

/// Acquire and return with nobody else about.
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

/// Many tasks on ten connections, each holding its own over one yield.
fn contended(c: &mut Criterion) {
    const ROUNDS: u64 = 100;
    let runtime = Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("hold over a yield");
    for tasks in [10_u64, 64, 256] {
        let pool = pool();
        group.throughput(Throughput::Elements(tasks * ROUNDS));
        group.bench_function(format!("{tasks} tasks"), |b| {
            b.to_async(&runtime).iter(|| {
                let pool = pool.clone();
                async move {
                    let mut all = JoinSet::new();
                    for _ in 0..tasks {
                        let pool = pool.clone();
                        all.spawn(async move {
                            for _ in 0..ROUNDS {
                                let lease = pool.acquire().await.expect("served within the deadline");
                                yield_now().await;
                                drop(lease);
                            }
                        });
                    }
                    while all.join_next().await.is_some() {}
                }
            });
        });
    }
    group.finish();
}

criterion_group!(checkout, uncontended, contended);
criterion_main!(checkout);
