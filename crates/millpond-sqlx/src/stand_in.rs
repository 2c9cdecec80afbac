//! Lends a connection through a pool of sqlx's own, for code that names sqlx's types.
//!
//! sqlx's `Transaction` and `PoolConnection` return their connection to a `sqlx::Pool` and to
//! nothing else, and such a pool opens its connections itself. So it opens a stand-in: a connection
//! that leads to no server. Its `after_connect` swaps the stand-in with the connection of a lease,
//! and its `after_release` swaps them back. When the lease is dropped then, its connection is
//! verified as after every direct use of the driver's.

use crate::lease::SqlLease;
use sqlx::pool::PoolOptions;
use sqlx::{Database, Error, SqlSafeStr, SqlStr, Transaction};
use std::future;
use std::io;
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
    let usual = || lease.backend().begin_statement().map(SqlSafeStr::into_sql_str);
    let statement = statement.or_else(usual);
    let (ready, swapped) = (Mutex::new(Some(lease)), Arc::new(Swapped::default()));
    let lent = Arc::clone(&swapped);
    let pool = pool_options(OPEN_LIMIT)
        .max_connections(1)
        .after_connect(move |conn, _| {
            let lease = lock(&ready).take();
            if let Some(lease) = lease {
                swapped.lend(lease, conn);
            }
            Box::pin(future::ready(Ok(())))
        })
        .after_release(move |conn, _| {
            drop(lent.take_back(conn));
            // The stand-in has served.
            Box::pin(future::ready(Ok(false)))
        })
        .connect_lazy_with(options);
    match statement {
        Some(statement) => pool.begin_with(statement).await,
        None => pool.begin().await,
    }
    .map_err(|error| match error {
        Error::PoolTimedOut => io::Error::other(NOT_OPENED).into(),
        error => error,
    })
}

/// Options of a pool of stand-ins, which are never tested, nor closed for their age by a task.
pub(crate) fn pool_options<DB: Database>(limit: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .acquire_timeout(limit)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}

/// The leases whose connections are swapped with stand-ins.
pub(crate) struct Swapped<DB: Database>(Mutex<Vec<SqlLease<DB>>>);

impl<DB: Database> Swapped<DB> {
    /// Puts the connection of the lease into `conn`, and the stand-in into the lease.
    pub(crate) fn lend(&self, mut lease: SqlLease<DB>, conn: &mut DB::Connection) {
        // Records the direct use.
        mem::swap::<DB::Connection>(&mut lease, conn);
        lock(&self.0).push(lease);
    }

    /// Puts the connection into one of the leases, and its stand-in into `conn`.
    pub(crate) fn take_back(&self, conn: &mut DB::Connection) -> Option<SqlLease<DB>> {
        let mut lease = lock(&self.0).pop()?;
        mem::swap(lease.driver_mut(), conn);
        Some(lease)
    }

    /// Frees the slots of leases beyond this number, whose connections do not come back. They hold
    /// only stand-ins, which must not be lent.
    pub(crate) fn keep_at_most(&self, number: u32) {
        let mut leases = lock(&self.0);
        let number = leases.len().min(usize::try_from(number).unwrap_or(usize::MAX));
        let lost = leases.split_off(number);
        drop(leases);
        lost.into_iter().map(SqlLease::detach).for_each(drop);
    }
}

impl<DB: Database> Default for Swapped<DB> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The pool of sqlx's is gone, with connections that it has closed or lost with its runtime.
impl<DB: Database> Drop for Swapped<DB> {
    fn drop(&mut self) {
        self.keep_at_most(0);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
