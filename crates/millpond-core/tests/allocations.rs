//! What a checkout costs in memory: nothing when a connection is there, one allocation when it has
//! to wait.
//!
//! A binary of its own, because counting replaces the allocator of the whole process. What is
//! measured polls by itself, and so often that a task would have to let others run in between: it
//! is left unconstrained.

use allocation_counter::measure;
use millpond_core::{Lease, QueuePool};
use millpond_testkit::ByHand;
use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio::task::unconstrained;

/// A manager that allocates nothing itself: the scripted one keeps books.
struct Bare;

impl millpond_core::Manager for Bare {
    type Connection = u64;
    type Error = std::io::Error;

    async fn connect(&self, info: &millpond_core::ConnectInfo) -> Result<u64, std::io::Error> {
        Ok(info.id.get())
    }

    async fn ping(&self, _conn: &mut u64) -> Result<(), std::io::Error> {
        Ok(())
    }
}

type Pool = QueuePool<Bare>;

async fn warm_pool(connections: u32) -> Pool {
    let pool = Pool::builder(Bare)
        .pool_size(connections)
        .max_overflow(0)
        .pool_pre_ping(false)
        .build()
        .unwrap();
    for _ in 0..100 {
        let mut loans = Vec::new();
        for _ in 0..connections {
            loans.push(pool.acquire().await.unwrap());
        }
    }
    tokio::task::yield_now().await;
    pool
}

/// Acquires in a single poll, on the stack.
fn acquire_now(pool: &Pool) -> Lease<u64> {
    let acquire = pin!(pool.acquire());
    match acquire.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(lease) => lease.unwrap(),
        Poll::Pending => panic!("a connection was there"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_counter_counts() {
    assert_eq!(measure(|| drop(black_box(Box::new(1_u64)))).count_total, 1);
    assert_eq!(measure(|| assert_eq!(black_box(1_u64), 1)).count_total, 0);
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_finds_a_connection_and_its_return_allocate_nothing() {
    let measuring = async {
        for connections in [1, 10, 50] {
            let pool = warm_pool(connections).await;
            let counted = measure(|| {
                for _ in 0..1_000 {
                    drop(acquire_now(&pool));
                }
            });
            assert_eq!(counted.count_total, 0, "with {connections} connections: {counted:?}");
        }
    };
    unconstrained(measuring).await;
}

#[tokio::test(start_paused = true)]
async fn several_loans_at_once_allocate_nothing_either() {
    let measuring = async {
        let pool = warm_pool(3).await;
        let counted = measure(|| {
            for _ in 0..1_000 {
                drop((acquire_now(&pool), acquire_now(&pool), acquire_now(&pool)));
            }
        });
        assert_eq!(counted.count_total, 0, "{counted:?}");
    };
    unconstrained(measuring).await;
}

#[tokio::test(start_paused = true)]
async fn try_acquire_allocates_nothing() {
    let pool = warm_pool(2).await;
    let counted = measure(|| {
        for _ in 0..1_000 {
            let lease = pool.try_acquire();
            assert!(lease.is_some());
        }
    });
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_costs_one_allocation_at_most() {
    let measuring = async {
        let pool = warm_pool(1).await;
        let wait_once = || {
            let lease = acquire_now(&pool);
            let mut acquire = pin!(pool.acquire());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(acquire.as_mut().poll(&mut cx).is_pending());
            drop(lease);
            match acquire.as_mut().poll(&mut cx) {
                Poll::Ready(lease) => drop(lease.unwrap()),
                Poll::Pending => panic!("it was handed over"),
            }
        };
        for _ in 0..100 {
            wait_once();
        }
        let counted = measure(|| {
            for _ in 0..1_000 {
                wait_once();
            }
        });
        assert!(counted.count_total <= 1_000, "{} allocations in 1000 waits", counted.count_total);
        assert_eq!(counted.count_current, 0, "nothing is left behind: {counted:?}");
    };
    unconstrained(measuring).await;
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_cancelled_waits_leave_the_memory_as_it_was() {
    let measuring = async {
        let pool = warm_pool(1).await;
        let _lease = pool.acquire().await.unwrap();
        let cancelled_waits = |count: usize| {
            for _ in 0..count {
                let mut waiter = ByHand::new(pool.acquire());
                assert!(waiter.poll().is_pending());
            }
        };
        cancelled_waits(1_000);
        let counted = measure(|| cancelled_waits(100_000));
        assert!(counted.bytes_current.abs() < 1_024, "{counted:?}");
    };
    unconstrained(measuring).await;
}

#[tokio::test(start_paused = true)]
async fn the_future_of_an_acquire_is_small() {
    let pool = warm_pool(1).await;
    let size = size_of_val(&pool.acquire());
    assert!(size <= 256, "{size} bytes");
}
