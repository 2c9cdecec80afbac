//! `SqlPool::sqlx`, for code that takes a pool of sqlx's own type.

use crate::backend::Backend;
use crate::backing_pool::BackingPool;
use crate::pool::{NO_SESSION, SqlPool};
use crate::sqlx_pool::not_offered;
use crate::transaction::Transaction;
use futures_core::future::BoxFuture;
use millpond_core::Request;
use sqlx::{Database, Error};

/// The future of [`SqlPool::try_begin`].
type TryBegin<DB> = BoxFuture<'static, Result<Option<Transaction<'static, DB>>, Error>>;

impl<DB: Database> SqlPool<DB> {
    /// Returns a pool of sqlx's own type, for crates that take one by type, such as `sea-orm` or
    /// `PgListener`. It lends connections of this pool, within its limit. It is the same pool at
    /// each call, and its first connection is opened by its first acquire.
    ///
    /// `sqlx_connections` of the options is how many connections it has, 1 by default. One alone is
    /// shared: it is acquired from this pool for each of its borrowers, and returned to it. Each of
    /// several is taken from this pool when it is needed first, and holds its slot until this pool
    /// is closed.
    ///
    /// What differs from a lease of this pool:
    ///
    /// - It is not tracked: `statement_timeout` does not hold, and a statement that was dropped is
    ///   not cancelled at the server.
    /// - Its connections are opened and reset as those of this pool, with its hooks for new
    ///   connections. If there are several, `on_checkout` and `on_checkin` are not called for each
    ///   borrower, `invalidate_all` has no effect on them, and with `reset = session` or
    ///   `pool = null` each is closed on return. On SQLite a statement that still runs then is not
    ///   interrupted: the return waits for it, at most for `ping_timeout`.
    /// - One connection alone opens a connection within the process at each acquire.
    /// - `PoolConnection::close` and `detach` keep the slot until the next acquire of either pool.
    ///   One that waits already does not get it.
    /// - `connect_options` of that pool leads to no server, and after `set_connect_options` it
    ///   opens connections beside this pool's: leave both alone.
    /// - A `PgListener` of that pool keeps one of its connections: the only one by default.
    /// - Its timeout is sqlx's `PoolTimedOut`, 1 s after `pool_timeout`; sqlx logs this pool's
    ///   error.
    ///
    /// It is closed with this pool, also when the last handle of this pool is dropped. Close this
    /// pool rather than that one, which leaves the slots taken.
    ///
    /// # Errors
    ///
    /// `Error::PoolClosed`; `Error::InvalidArgument` behind a transaction pooler, and for pools
    /// that were not built by a backend's options.
    pub fn sqlx(&self) -> Result<sqlx::Pool<DB>, Error> {
        if self.is_closed() {
            return Err(Error::PoolClosed);
        }
        if self.is_transactions_only() {
            return Err(Error::InvalidArgument(NO_SESSION.to_owned()));
        }
        match self.main() {
            BackingPool::Managed(pool) => self.sqlx_pool().get(pool),
            BackingPool::Custom(_) => Err(not_offered()),
        }
    }

    /// Begins a transaction if a connection is ready now, as sqlx's method of this name does.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// As [`begin`](Self::begin).
    #[track_caller]
    pub fn try_begin(&self) -> TryBegin<DB> {
        let (lease, statement) = (self.try_lend(Request::here()), self.begin_statement());
        Box::pin(async move {
            match lease {
                Some(lease) => Transaction::begin_on(lease, statement).await.map(Some),
                None => Ok(None),
            }
        })
    }

    /// Applies the settings `sqlx_connections` and `sqlx_timeouts` to a pool that was just built,
    /// for backends.
    ///
    /// # Errors
    ///
    /// `Error::Configuration` if the pool has not enough connections.
    pub fn with_sqlx_settings(
        mut self,
        backend: &'static dyn Backend<DB>,
        connections: u32,
        timeouts: bool,
    ) -> Result<Self, Error> {
        self.set_sqlx_timeouts(timeouts);
        let limit = self.main().managed_pool().map_or(0, |pool| pool.config().limit());
        if connections == 0 || (connections > 1 && connections >= limit) {
            let most = limit.saturating_sub(1).max(1);
            let text = format!(
                "sqlx_connections = {connections} is out of range 1 to {most}: more than one of \
                 them hold slots of the pool's {limit}; choose fewer, or raise pool_size"
            );
            return Err(Error::Configuration(text.into()));
        }
        self.sqlx_pool().offer(backend, connections, self.reuses_connections());
        Ok(self)
    }
}
