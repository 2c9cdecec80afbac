//! `SqlPool`, which takes the place of `sqlx::Pool`.

use crate::backing_pool::BackingPool;
use crate::lease::SqlLease;
use crate::sqlx_pool::SqlxPool;
use crate::time_limits::{CurrentLease, Limits};
use crate::tracked::Tracked;
use crate::transaction::Transaction;
use futures_util::future::{self, Either};
use millpond_core::{
    CloseReport, DEFAULT_CLOSE_TIMEOUT, Manager, NullPool, Pool, QueuePool, Request,
};
use sqlx::{AssertSqlSafe, Database, Error, SqlSafeStr, SqlStr};
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A pool of connections to one database: a drop-in for `sqlx::Pool`.
///
/// `&pool` is an `Executor` and an `Acquire`, so queries, streams and `migrate!().run(&pool)` work
/// as with sqlx. Cloning is cheap, and all clones are the same pool. Errors are `sqlx::Error`;
/// [`pool_error`](crate::pool_error) extracts the pool's own error from one.
///
/// It lends from a [`QueuePool`], a [`NullPool`], a custom pool, or from two pools: one writer and
/// many readers.
///
/// # `Acquire::begin` on a pool
///
/// [`begin`](Self::begin) returns millpond's own [`Transaction`]. Code that is generic over
/// `Acquire` calls the trait's `begin`, and has sqlx's `Transaction` on a connection of this pool,
/// within its limit and its `pool_timeout`:
///
/// ```
/// use sqlx::{Acquire, Database, Error};
///
/// async fn in_a_transaction<'a, A: Acquire<'a>>(acq: A) -> Result<(), Error> {
///     let tx = acq.begin().await?;
///     tx.commit().await
/// }
/// ```
///
/// Differences to [`begin`](Self::begin):
///
/// - Its use is not tracked: `statement_timeout` does not hold, and a dropped statement is not
///   cancelled at the server. The connection is verified on return, so nothing of it reaches the
///   next borrower.
/// - Each one opens a connection within the process that stands in for it: over the loopback
///   interface on PostgreSQL and MySQL, in memory on SQLite.
/// - Like every connection of sqlx's pool it must be dropped within a tokio runtime, and is
///   returned by a task of that runtime: a moment later.
///
/// # What is shown as the holder
///
/// The location that called [`acquire`](Self::acquire) or [`begin`](Self::begin). sqlx's
/// `fetch_one(&pool)` and similar methods do not pass on their caller's location: such a borrower
/// is shown by the first words of its statement, without values. For the location of a query, use
/// [`acquire`](Self::acquire).
pub struct SqlPool<DB: Database> {
    inner: Arc<Inner<DB>>,
    /// The limits of the pool, or of this handle alone.
    limits: Limits,
}

/// A handle that does not keep a [`SqlPool`] alive.
pub struct WeakSqlPool<DB: Database> {
    inner: Weak<Inner<DB>>,
}

impl<DB: Database> WeakSqlPool<DB> {
    /// Returns the pool, if another handle still keeps it alive.
    pub fn upgrade(&self) -> Option<SqlPool<DB>> {
        self.inner.upgrade().map(SqlPool::from)
    }
}

impl<DB: Database> fmt::Debug for WeakSqlPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSqlPool").field("backend", &DB::NAME).finish_non_exhaustive()
    }
}

/// The error of an acquire on a pool that supports only transactions.
pub(crate) const NO_SESSION: &str = "behind a transaction pooler a connection leads to one server \
    only within a transaction: begin one with `pool.begin()`, or execute single queries on \
    `&pool`; for migrations and everything else that needs a session connect to the server itself";

/// The kind of a pool that keeps no connections.
const NULL: &str = "null";

struct Inner<DB: Database> {
    kind: &'static str,
    main: BackingPool<DB>,
    limits: Limits,
    /// The statement that begins a transaction, if it is not the usual one.
    begin: Option<&'static str>,
    /// Whether a connection is a session only within a transaction.
    transactions_only: bool,
    readers: Option<Readers<DB>>,
    sqlx: SqlxPool<DB>,
}

/// The pool for statements that can only read, and the test for them.
struct Readers<DB: Database> {
    pool: SqlPool<DB>,
    only_reads: fn(&str) -> bool,
}

impl<DB: Database> SqlPool<DB> {
    /// Creates a pool that lends from a [`QueuePool`].
    pub fn from_queue<M: Manager<Connection = Tracked<DB>>>(pool: QueuePool<M>) -> Self {
        Self::from_backing_pool("queue", BackingPool::Managed(Arc::new(pool)))
    }

    /// Creates a pool that lends from a [`NullPool`], which opens a connection for every borrower.
    pub fn from_null<M: Manager<Connection = Tracked<DB>>>(pool: NullPool<M>) -> Self {
        Self::from_backing_pool(NULL, BackingPool::Managed(Arc::new(QueuePool::clone(&pool))))
    }

    /// Creates a pool that lends from a custom pool. The limits of its settings,
    /// `statement_timeout` and `max_lease`, are not known here:
    /// [`statement_timeout`](Self::statement_timeout) sets one.
    pub fn from_custom(pool: Arc<dyn Pool<Connection = Tracked<DB>>>) -> Self {
        Self::from_backing_pool("custom", BackingPool::Custom(pool))
    }

    /// Creates a pool that lends from `writer`, and from `readers` for statements on `&pool` that
    /// can only read by their text; `only_reads` returns false when in doubt. `begin` is the
    /// statement that begins a transaction on the writer.
    pub fn from_split<M: Manager<Connection = Tracked<DB>>>(
        writer: QueuePool<M>,
        readers: QueuePool<M>,
        only_reads: fn(&str) -> bool,
        begin: &'static str,
    ) -> Self {
        let readers = Readers { pool: Self::from_queue(readers), only_reads };
        let limits = Limits::of(&writer.config());
        let main = BackingPool::Managed(Arc::new(writer));
        let inner = Inner {
            kind: "one writer, many readers",
            main,
            limits,
            begin: Some(begin),
            transactions_only: false,
            readers: Some(readers),
            sqlx: SqlxPool::default(),
        };
        Self::from(Arc::new(inner))
    }

    /// Returns the same pool for use behind a transaction pooler: queries on `&pool` and
    /// transactions work, and acquiring a connection is an error. `begin` is the statement that
    /// begins a transaction.
    #[must_use]
    pub fn transactions_only(self, begin: &'static str) -> Self {
        let (kind, main, limits) = (self.inner.kind, self.inner.main.clone(), self.inner.limits);
        let inner = Inner {
            kind,
            main,
            limits,
            begin: Some(begin),
            transactions_only: true,
            readers: None,
            sqlx: SqlxPool::default(),
        };
        Self { inner: Arc::new(inner), limits: self.limits }
    }

    /// Acquires a connection within the pool's `pool_timeout`. The caller's location is shown as
    /// the holder; that of a query on `&pool` is unknown, see
    /// [above](Self#what-is-shown-as-the-holder).
    ///
    /// # Errors
    ///
    /// See [`pool_error`](crate::pool_error).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no slot, no connection and no wake-up.
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<SqlLease<DB>, Error>> + Send + 'static + use<DB> {
        self.acquire_session(Request::here())
    }

    /// Acquires a connection within `limit`.
    ///
    /// # Errors
    ///
    /// See [`pool_error`](crate::pool_error).
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_within(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<SqlLease<DB>, Error>> + Send + 'static + use<DB> {
        self.acquire_session(Request::here().within(limit))
    }

    /// Acquires a connection if one is ready now.
    #[track_caller]
    pub fn try_acquire(&self) -> Option<SqlLease<DB>> {
        if self.inner.transactions_only { None } else { self.try_lend(Request::here()) }
    }

    /// Lends a connection if one is ready now, behind a transaction pooler too.
    pub(crate) fn try_lend(&self, request: Request) -> Option<SqlLease<DB>> {
        let main = &self.inner.main;
        self.inner.sqlx.free_slots();
        let mut lease = main.check_identity(main.as_pool().try_acquire_with(request)?).ok()?;
        lease.begin_lease(CurrentLease::new(self.limits, Some(request.location)));
        Some(lease)
    }

    /// Begins a transaction that owns its connection; on a pool of one writer and many readers, the
    /// writer.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Self::acquire), and the driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is rolled back before it is lent again.
    #[track_caller]
    pub fn begin(
        &self,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, Error>> + Send + 'static + use<DB>
    {
        self.transaction(Request::here(), self.begin_statement())
    }

    /// Begins a transaction with a custom statement, such as `BEGIN IMMEDIATE`.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin); `Error::BeginFailed` if the statement did not begin a
    /// transaction.
    ///
    /// # Cancel safety
    ///
    /// As [`begin`](Self::begin).
    #[track_caller]
    pub fn begin_with<S: SqlSafeStr>(
        &self,
        statement: S,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, Error>> + Send + 'static + use<DB, S>
    {
        self.transaction(Request::here(), Some(self.with_begin_setup(statement.into_sql_str())))
    }

    /// Closes the pool: acquires fail, idle connections are closed at once, the others on return.
    /// Waits for that, at most [`DEFAULT_CLOSE_TIMEOUT`] (30 s).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped after its first poll, the pool stays closed.
    pub async fn close(&self) {
        // `close_within` names the remaining holders; sqlx's own `close` returns nothing either.
        let _report = self.close_within(DEFAULT_CLOSE_TIMEOUT).await;
    }

    /// Closes the pool and waits until `limit`; the report lists the remaining holders.
    ///
    /// # Cancel safety
    ///
    /// As [`close`](Self::close).
    pub async fn close_within(&self, limit: Duration) -> CloseReport {
        let main = async {
            // Its connections hold slots of the main pool. A task that waits in its acquire does
            // not, and would let its close wait until that acquire times out.
            let sqlx = Box::pin(self.inner.sqlx.close(limit));
            match future::select(sqlx, self.inner.main.as_pool().close_within(limit)).await {
                Either::Left(((), main)) => main.await,
                Either::Right((report, _sqlx)) => report,
            }
        };
        match &self.inner.readers {
            None => main.await,
            Some(readers) => {
                let readers = readers.pool.inner.main.as_pool().close_within(limit);
                merge_reports(future::join(main, readers).await)
            }
        }
    }

    /// Returns true if the pool is closed or closing.
    pub fn is_closed(&self) -> bool {
        self.status().closed
    }

    /// Returns the readers of a pool of one writer and many readers; of every other pool, the pool
    /// itself.
    ///
    /// A reader cannot write: SQLite returns `(code: 8) attempt to write a readonly database`.
    /// Execute writes on the pool itself, which uses the writer.
    pub fn reader(&self) -> Self {
        let pool = self.inner.readers.as_ref().map_or(self, |readers| &readers.pool).clone();
        Self { limits: self.limits, ..pool }
    }

    /// Returns a handle to the same pool with another limit for every statement; `None` for no
    /// limit. The pool's own is `statement_timeout`. See [`Tracked::set_statement_timeout`].
    ///
    /// ```no_run
    /// # async fn example(pool: millpond_sqlx::SqlPool<sqlx::Any>) -> Result<(), sqlx::Error> {
    /// use std::time::Duration;
    ///
    /// let brisk = pool.statement_timeout(Duration::from_millis(200));
    /// sqlx::query("SELECT 1").execute(&brisk).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn statement_timeout(&self, limit: impl Into<Option<Duration>>) -> Self {
        Self { limits: Limits { statement: limit.into(), ..self.limits }, ..self.clone() }
    }

    /// Returns the same pool for code that relies on the declared types of columns, as sqlx's `Any`
    /// types do. Where the driver caches them, as SQLite's does, the schema is checked again before
    /// a statement if 100 ms have passed since the last check.
    #[must_use]
    pub fn with_declared_types(&self) -> Self {
        Self { limits: Limits { declared_types: true, ..self.limits }, ..self.clone() }
    }

    /// Returns true for a pool of one writer and many readers.
    pub fn is_split(&self) -> bool {
        self.inner.readers.is_some()
    }

    /// Returns a handle that does not keep the pool alive, for monitoring.
    pub fn downgrade(&self) -> WeakSqlPool<DB> {
        WeakSqlPool { inner: Arc::downgrade(&self.inner) }
    }

    /// Returns the core's pool, for code that takes any pool; of a pool of one writer and many
    /// readers, the writer's.
    pub fn pool(&self) -> Arc<dyn Pool<Connection = Tracked<DB>>> {
        self.inner.main.to_pool()
    }

    /// Acquires a connection for use as a session.
    pub(crate) fn acquire_session(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<SqlLease<DB>, Error>> + Send + 'static + use<DB> {
        let refused = self.inner.transactions_only;
        let lease = (!refused).then(|| self.lend(request));
        async move {
            match lease {
                Some(lease) => lease.await,
                None => Err(Error::InvalidArgument(NO_SESSION.to_owned())),
            }
        }
    }

    pub(crate) fn lend(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<SqlLease<DB>, Error>> + Send + 'static + use<DB> {
        self.inner.sqlx.free_slots();
        self.inner.main.lend(request, self.limits)
    }

    /// Acquires a connection for one statement: a reader if there are readers and the statement
    /// only reads.
    pub(crate) fn acquire_for_statement(
        &self,
        sql: &str,
        request: Request,
    ) -> impl Future<Output = Result<SqlLease<DB>, Error>> + Send + 'static + use<DB> {
        let backing = match &self.inner.readers {
            Some(readers) if (readers.only_reads)(sql) => &readers.pool.inner.main,
            _ => {
                self.inner.sqlx.free_slots();
                &self.inner.main
            }
        };
        backing.lend(request, self.limits)
    }

    /// Returns the statement that begins a transaction, if it is not the usual one.
    pub(crate) fn begin_statement(&self) -> Option<SqlStr> {
        self.inner.begin.map(SqlSafeStr::into_sql_str)
    }

    /// Sets whether a timeout is sqlx's `PoolTimedOut`, on a pool without other handles.
    pub(crate) fn set_sqlx_timeouts(&mut self, sqlx_timeouts: bool) {
        self.limits.sqlx_timeouts = sqlx_timeouts;
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.limits.sqlx_timeouts = sqlx_timeouts;
        }
    }

    pub(crate) fn is_transactions_only(&self) -> bool {
        self.inner.transactions_only
    }

    /// Returns false if each connection is closed on return.
    pub(crate) fn reuses_connections(&self) -> bool {
        self.inner.kind != NULL
    }

    pub(crate) fn sqlx_pool(&self) -> &SqlxPool<DB> {
        &self.inner.sqlx
    }

    pub(crate) fn main(&self) -> &BackingPool<DB> {
        &self.inner.main
    }

    pub(crate) fn readers(&self) -> Option<&BackingPool<DB>> {
        self.inner.readers.as_ref().map(|readers| &readers.pool.inner.main)
    }

    /// Prefixes a statement that begins a transaction with the setup that every transaction needs.
    fn with_begin_setup(&self, statement: SqlStr) -> SqlStr {
        match self
            .inner
            .begin
            .and_then(|begin| begin.split_once(';'))
            .filter(|_| self.inner.transactions_only)
        {
            Some((_, first)) => {
                AssertSqlSafe(format!("{};{first}", statement.as_str())).into_sql_str()
            }
            None => statement,
        }
    }

    fn from_backing_pool(kind: &'static str, main: BackingPool<DB>) -> Self {
        let limits = main.managed_pool().map(|pool| Limits::of(&pool.config())).unwrap_or_default();
        let inner = Inner {
            kind,
            main,
            limits,
            begin: None,
            transactions_only: false,
            readers: None,
            sqlx: SqlxPool::default(),
        };
        Self::from(Arc::new(inner))
    }

    fn transaction(
        &self,
        request: Request,
        statement: Option<SqlStr>,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, Error>> + Send + 'static + use<DB>
    {
        let lease = self.lend(request);
        async move { Transaction::begin_on(lease.await?, statement).await }
    }
}

/// Merges two reports.
fn merge_reports((mut first, second): (CloseReport, CloseReport)) -> CloseReport {
    first.holders.extend(second.holders);
    first.holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
    first.pending = first.pending.saturating_add(second.pending);
    first.took = first.took.max(second.took);
    first
}

impl<DB: Database> From<Arc<Inner<DB>>> for SqlPool<DB> {
    fn from(inner: Arc<Inner<DB>>) -> Self {
        Self { limits: inner.limits, inner }
    }
}

impl<DB: Database> Clone for SqlPool<DB> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), limits: self.limits }
    }
}

impl<DB: Database, M: Manager<Connection = Tracked<DB>>> From<QueuePool<M>> for SqlPool<DB> {
    fn from(pool: QueuePool<M>) -> Self {
        Self::from_queue(pool)
    }
}

impl<DB: Database, M: Manager<Connection = Tracked<DB>>> From<NullPool<M>> for SqlPool<DB> {
    fn from(pool: NullPool<M>) -> Self {
        Self::from_null(pool)
    }
}

impl<DB: Database> fmt::Debug for SqlPool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shows neither the connection string nor anything that may contain it.
        f.debug_struct("SqlPool")
            .field("backend", &DB::NAME)
            .field("kind", &self.inner.kind)
            .finish_non_exhaustive()
    }
}
