//! Lends a connection through a pool of sqlx's own, for sqlx's own `Transaction`.
//!
//! sqlx's `Transaction` and `PoolConnection` return their connection to a `sqlx::Pool` and to
//! nothing else, and such a pool opens its connections itself. So a pool of one connection is built
//! that opens a stand-in: a connection that leads to no server. Its `after_connect` swaps the
//! stand-in with the connection of a lease, and its `after_release` swaps them back before the
//! lease is dropped. The connection is then verified as after every direct use of the driver's.

use crate::lease::SqlLease;
use sqlx::pool::PoolOptions;
use sqlx::{Database, Error, SqlStr, Transaction};
use std::future;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The limit for opening a stand-in.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

const NOT_OPENED: &str = "could not open the stand-in for a connection, which `Acquire::begin` \
    needs; `SqlPool::begin(&pool)` needs none";

const NOT_SUPPORTED: &str = "`Acquire::begin` on a pool is not supported by this backend: call \
    `SqlPool::begin(&pool)`";

/// Begins sqlx's own transaction on a lease, which is returned to its pool when the transaction has
/// ended. `statement` begins it, if that is not the usual one.
pub(crate) async fn begin<DB: Database>(
    lease: SqlLease<DB>,
    statement: Option<SqlStr>,
) -> Result<Transaction<'static, DB>, Error> {
    let Some(options) = lease.backend().stand_in()? else {
        return Err(Error::InvalidArgument(NOT_SUPPORTED.to_owned()));
    };
    let (ready, swap) = (Mutex::new(Some(lease)), Arc::new(Swap::default()));
    let swap_back = Arc::clone(&swap);
    let pool = pool_options(OPEN_LIMIT)
        .after_connect(move |conn, _| {
            if let Some(lease) = lock(&ready).take() {
                swap.lend(lease, conn);
            }
            Box::pin(future::ready(Ok(())))
        })
        .after_release(move |conn, _| {
            swap_back.take_back(conn);
            // The stand-in has served.
            Box::pin(future::ready(Ok(false)))
        })
        .connect_lazy_with(options);
    match statement {
        Some(statement) => pool.begin_with(statement).await,
        None => pool.begin().await,
    }
    .map_err(|error| match error {
        Error::PoolTimedOut => Error::Io(std::io::Error::other(NOT_OPENED)),
        error => error,
    })
}

/// Options of a pool of one stand-in, which is never tested nor closed for its age.
fn pool_options<DB: Database>(limit: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(1)
        .acquire_timeout(limit)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// The lease whose connection is swapped with a stand-in.
struct Swap<DB: Database>(Mutex<Option<SqlLease<DB>>>);

impl<DB: Database> Swap<DB> {
    /// Puts the connection of the lease into `conn`, and the stand-in into the lease.
    fn lend(&self, mut lease: SqlLease<DB>, conn: &mut DB::Connection) {
        // Notes the direct use.
        mem::swap::<DB::Connection>(&mut lease, conn);
        let earlier = lock(&self.0).replace(lease);
        drop(earlier.map(SqlLease::detach));
    }

    /// Puts both back, and drops the lease.
    fn take_back(&self, conn: &mut DB::Connection) {
        let lease = lock(&self.0).take();
        if let Some(mut lease) = lease {
            mem::swap(lease.driver_mut(), conn);
        }
    }
}

impl<DB: Database> Default for Swap<DB> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The runtime ended before the connection came back: the lease holds only the stand-in, which must
/// not be lent.
impl<DB: Database> Drop for Swap<DB> {
    fn drop(&mut self) {
        let lease = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        drop(lease.map(SqlLease::detach));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
