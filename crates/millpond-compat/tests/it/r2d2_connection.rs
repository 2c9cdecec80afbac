//! Work on a blocking connection that panics or is not awaited.

use millpond_compat::{InteractError, R2d2, R2d2Error};
use millpond_core::{ErrorClass, Manager, QueuePool};
use millpond_testkit::{poll_n, until};
use r2d2::ManageConnection;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// Counts its instances.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Default)]
struct Counting {
    open: Arc<AtomicUsize>,
    has_broken: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Never;

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("never")
    }
}

impl std::error::Error for Never {}

impl ManageConnection for Counting {
    type Connection = Counted;
    type Error = Never;

    fn connect(&self) -> Result<Counted, Never> {
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Counted(Arc::clone(&self.open)))
    }

    fn is_valid(&self, _conn: &mut Counted) -> Result<(), Never> {
        Ok(())
    }

    fn has_broken(&self, _conn: &mut Counted) -> bool {
        self.has_broken.load(Ordering::SeqCst)
    }
}

type Pool = QueuePool<R2d2<Counting>>;

fn pool_over(manager: Counting) -> Pool {
    QueuePool::builder(R2d2::new(manager)).pool_size(1).max_overflow(0).build().unwrap()
}

#[tokio::test]
async fn work_that_panics_is_an_error_and_closes_the_connection() {
    let manager = Counting::default();
    let open = Arc::clone(&manager.open);
    let pool = pool_over(manager);
    let mut lease = pool.acquire().await.unwrap();
    let error = lease.interact(|_| panic!("a bug")).await.unwrap_err();
    assert_eq!(error, InteractError::Panicked("a bug".to_owned()));
    assert_eq!(lease.interact(|_| ()).await, Err(InteractError::Lost));
    drop(lease);
    let mut next = pool.acquire().await.unwrap();
    assert_eq!(next.interact(|_| 7).await, Ok(7));
    assert_eq!((open.load(Ordering::SeqCst), pool.status().totals.created), (1, 2));
}

#[tokio::test]
async fn work_that_is_not_awaited_ends_in_its_thread_and_its_connection_is_not_lent_again() {
    let manager = Counting::default();
    let open = Arc::clone(&manager.open);
    let pool = pool_over(manager);
    let (end, ends) = channel::<()>();
    let mut lease = pool.acquire().await.unwrap();
    let cut = poll_n(lease.interact(move |_| blocked(&ends)), 1).await;
    assert!(cut.is_none());
    drop(lease);
    let mut next = pool.acquire().await.unwrap();
    assert_eq!(next.interact(|_| ()).await, Ok(()));
    // The first connection is still in use.
    assert_eq!(open.load(Ordering::SeqCst), 2);
    drop(end);
    until("the first one is closed", async || open.load(Ordering::SeqCst) == 1).await;
}

fn blocked(ends: &Receiver<()>) {
    let _ = ends.recv();
}

#[tokio::test]
async fn a_broken_connection_is_closed_when_its_lease_ends() {
    let manager = Counting::default();
    let (open, has_broken) = (Arc::clone(&manager.open), Arc::clone(&manager.has_broken));
    let pool = pool_over(manager);
    let lease = pool.acquire().await.unwrap();
    has_broken.store(true, Ordering::SeqCst);
    drop(lease);
    until("it is closed", async || open.load(Ordering::SeqCst) == 0).await;
}

#[tokio::test]
async fn an_error_is_classified_by_the_users_function() {
    let manager = R2d2::new(Counting::default());
    assert_eq!(manager.classify(&R2d2Error::Backend(Never)), ErrorClass::Transient);
    let manager = manager.classify_with(|_| ErrorClass::Permanent);
    assert_eq!(manager.classify(&R2d2Error::Backend(Never)), ErrorClass::Permanent);
}
