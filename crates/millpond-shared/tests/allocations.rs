//! Counts the allocations of a loan: one, for the connection in its lease.
//!
//! A separate binary, because counting replaces the allocator of the whole process.

use allocation_counter::measure;
use millpond_core::{ConnectInfo, Manager};
use millpond_shared::SharedPool;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::task::unconstrained;

/// A manager that allocates nothing but its connections.
struct Bare;

impl Manager for Bare {
    type Connection = Arc<u64>;
    type Error = io::Error;

    async fn connect(&self, info: &ConnectInfo) -> io::Result<Arc<u64>> {
        Ok(Arc::new(info.id.get()))
    }

    async fn ping(&self, _: &mut Arc<u64>) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_loan_costs_one_allocation() {
    const LOANS: u64 = 100;
    let pool = SharedPool::builder(Bare).pool_size(1).build().unwrap();
    drop(pool.acquire().await.unwrap());
    drop((pool.try_acquire().unwrap(), pool.try_acquire().unwrap()));
    let tried = measure(|| (0..LOANS).for_each(|_| drop(pool.try_acquire().unwrap())));
    assert_eq!(tried.count_total, LOANS);
    unconstrained(async {
        let acquired = measure(|| {
            for _ in 0..LOANS {
                let acquire = pin!(pool.acquire());
                match acquire.poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(lease) => drop(lease.unwrap()),
                    Poll::Pending => panic!("a connection was there"),
                }
            }
        });
        assert_eq!(acquired.count_total, LOANS);
    })
    .await;
}
