//! The cost of other threads: one, two and four workers on one pool, with enough connections for
//! all and with too few.

use benches::filled;
use benches::tasks::{Hold, work};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::{Builder, Runtime};

const TURNS: u32 = 1_000;

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().expect("a runtime")
}

/// Measures one task per worker with enough connections: the tasks only share the pool's lock.
fn no_task_waits(c: &mut Criterion) {
    let mut group = c.benchmark_group("no hold, nobody waits");
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let pool = runtime.block_on(filled(10));
        let tasks = workers as u32;
        group.throughput(Throughput::Elements(u64::from(tasks * TURNS)));
        group.bench_function(format!("{workers} threads"), |b| {
            b.to_async(&runtime).iter(|| work(&pool, tasks, TURNS, Hold::Not));
        });
    }
    group.finish();
}

/// Measures sixty-four tasks on ten connections.
fn most_tasks_wait(c: &mut Criterion) {
    const TASKS: u32 = 64;
    const TURNS: u32 = 100;
    let mut group = c.benchmark_group("64 tasks hold over a yield");
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let pool = runtime.block_on(filled(10));
        group.throughput(Throughput::Elements(u64::from(TASKS * TURNS)));
        group.bench_function(format!("{workers} threads"), |b| {
            b.to_async(&runtime).iter(|| work(&pool, TASKS, TURNS, Hold::Yield));
        });
    }
    group.finish();
}

criterion_group!(threads, no_task_waits, most_tasks_wait);
criterion_main!(threads);
