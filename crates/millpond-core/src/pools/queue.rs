//! `QueuePool` and `NullPool`: what a user holds of a pool of exclusive connections.

use crate::engine::{self, Shared, try_acquire};
use crate::ledger::Ledger;
use crate::{
    Acquire, AcquireFuture, Buildable, Builder, CloseFuture, CloseReport, ConfigError,
    DEFAULT_CLOSE_TIMEOUT, Event, Health, Holder, Lease, Manager, Pool, PoolConfig, PoolError,
    PoolParts, Request, Reservation, Status,
};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How thoroughly `invalidate_all` works. In both cases nothing opened before is lent again, and
/// what is in use is closed on return: no pool can take a connection away from its borrower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalidate {
    /// Connections are closed cleanly, `on_close` hooks included: for new credentials.
    Soft,
    /// Connections are dropped at once, without closing: for a server that is known to be gone.
    Hard,
}

/// A pool of exclusive connections with SQLAlchemy's semantics: `pool_size` are kept,
/// `max_overflow` more may be open, later callers wait in turn.
///
/// Cheap to clone: all clones are one pool. When the last clone is dropped the pool closes what is
/// idle, and what is in use when it comes back.
///
/// ```
/// # use millpond_core::QueuePool;
/// # use millpond_testkit::ScriptedManager as MyManager;
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let pool = QueuePool::builder(MyManager::new()).build()?;
/// let lease = pool.acquire().await?;
/// assert_eq!(pool.status().in_use, 1);
/// drop(lease);
/// assert_eq!(pool.status().idle, 1);
/// assert!(pool.close().await.is_clean());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct QueuePool<M: Manager> {
    handle: Arc<Alive<M>>,
}

/// A pool that keeps nothing: it opens a connection for each acquire and closes it on return, but
/// obeys the limit, the queue and the deadline like any other. The guide's choice for SQLite files.
pub struct NullPool<M: Manager> {
    pool: QueuePool<M>,
}

/// A handle that does not keep a pool alive: for managers, which the pool owns, and for monitoring.
pub struct WeakPool<M: Manager> {
    handle: Weak<Alive<M>>,
}

/// Closes the pool when the last handle is dropped.
struct Alive<M: Manager> {
    shared: Arc<Shared<M>>,
}

impl<M: Manager> Drop for Alive<M> {
    fn drop(&mut self) {
        self.shared.begin_close();
        // The maintenance task holds the pool only while it works; now it is all that is left to
        // close what is open.
        let kept_pool = Arc::clone(&self.shared);
        drop(self.shared.change(|ledger, _| ledger.keep_alive(kept_pool)));
    }
}

impl<M: Manager> QueuePool<M> {
    /// Starts to build a pool over this manager.
    pub fn builder(manager: M) -> Builder<Self> {
        Builder::new(manager)
    }

    /// A pool whose leases are members, of which shares are lent.
    pub(crate) fn multiplexed(parts: PoolParts<M>, kind: &'static str) -> Self {
        let mut shared = Shared::new(parts, kind, true);
        shared.multiplex();
        Self::begin(shared)
    }

    fn begin(shared: Shared<M>) -> Self {
        let shared = Arc::new(shared);
        let keeps = shared.read(|ledger| ledger.traits().keeps);
        if keeps && shared.config.min_idle.is_some_and(|idle| idle > 0) && shared.runtime.is_some()
        {
            // The first connections are opened before the first acquire. Without a timer there, the
            // first acquire says so.
            let _ = shared.ensure_maintenance();
        }
        let pool = Self { handle: Arc::new(Alive { shared }) };
        pool.report_conflicts(keeps);
        pool
    }

    fn report_conflicts(&self, keeps: bool) {
        let config = &self.shared().config;
        let conflicts = if keeps { config.conflicts() } else { config.null_conflicts() };
        for conflict in conflicts {
            let (setting, message) = (conflict.setting, conflict.to_string());
            tracing::warn!(pool = self.name(), setting, message, "conflicting settings");
            self.shared().report(|| Event::Warned { setting, message });
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<M>> {
        &self.handle.shared
    }

    /// Lends a connection within `pool_timeout`. The calling line is remembered as the holder, and
    /// every timeout names the oldest ones.
    ///
    /// # Errors
    ///
    /// A [`PoolError`]: the deadline passed, the pool is closed, `max_waiters` are waiting, no
    /// connection can be opened, hooks refused three connections in a row, or there is no runtime.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point: see [`Acquire`].
    #[track_caller]
    pub fn acquire(&self) -> Acquire<M> {
        self.acquire_with(Request::here())
    }

    /// Lends a connection within a limit of its own. Zero takes what is ready at this moment or
    /// fails at once. Otherwise like [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_within(&self, limit: Duration) -> Acquire<M> {
        self.acquire_with(Request::here().within(limit))
    }

    /// Lends a connection to the caller that the request names: for pools that wrap this one.
    /// Otherwise like [`acquire`](Self::acquire).
    pub fn acquire_with(&self, request: Request) -> Acquire<M> {
        Acquire::new(self.shared(), request)
    }

    /// Lends the freshest idle connection if nothing is due for it, else nothing; never waits. If a
    /// ping is due, the maintenance task validates the idle connections meanwhile, and a later call
    /// finds them ready. While there is an `on_checkout` hook it lends nothing, since that would
    /// have to be awaited.
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Lease<M::Connection>> {
        try_acquire(self.shared(), Request::here())
    }

    /// A snapshot of the pool's counts.
    pub fn status(&self) -> Status {
        let now = self.shared().now();
        self.shared().read(|ledger| ledger.status(now))
    }

    /// Whether the pool serves, from its own counts: it takes no connection and does not wait.
    pub fn health(&self) -> Health {
        let now = self.shared().now();
        self.shared().read(|ledger| {
            let mut health = ledger.status(now).health();
            health.cause = ledger.last_error().cloned();
            health
        })
    }

    /// The holders of connections, the oldest first.
    pub fn holders(&self) -> Vec<Holder> {
        let now = self.shared().now();
        self.shared().read(|ledger| ledger.slots().holders(now))
    }

    /// Takes a free slot for a connection that is opened past the pool, such as one that sends a
    /// cancel to its server, so that both together never exceed the limit. `None` if no slot is
    /// free, or if the pool is suspended or closed; never waits.
    pub fn try_reserve(&self) -> Option<Reservation> {
        Reservation::try_new(self.shared())
    }

    /// A handle that does not keep the pool alive.
    pub fn downgrade(&self) -> WeakPool<M> {
        WeakPool { handle: Arc::downgrade(&self.handle) }
    }

    /// Reports to the observers and the log that a setting does not match the server: for managers.
    pub fn warn(&self, setting: &'static str, message: String) {
        tracing::warn!(pool = self.name(), setting, message, "setting does not match the server");
        self.shared().report(|| Event::Warned { setting, message });
    }

    /// The manager that the pool was built over.
    pub fn manager(&self) -> &M {
        &self.shared().manager
    }

    /// The name of the pool.
    pub fn name(&self) -> &str {
        &self.shared().name
    }

    /// The settings that the pool was built with, and the sizes that hold now.
    pub fn config(&self) -> PoolConfig {
        self.shared().read(|ledger| ledger.config().clone())
    }

    /// Changes the sizes. Growing serves waiters at once. Shrinking closes idle connections at once
    /// and the others when they come back; until then nothing is opened. `min_idle` counts as at
    /// most `pool_size`. After a close it does nothing.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] if a size is out of its range; nothing is changed then.
    pub fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), ConfigError> {
        let mut wanted = self.config();
        (wanted.pool_size, wanted.max_overflow) = (pool_size, max_overflow);
        wanted.min_idle = wanted.min_idle.map(|idle| idle.min(pool_size));
        wanted.check()?;
        self.shared().change(|ledger, now| ledger.resize(pool_size, max_overflow, now));
        Ok(())
    }

    /// Makes everything opened so far out of date: none of it is lent again once this has returned.
    /// For rotated credentials and failovers.
    pub fn invalidate_all(&self, how: Invalidate) {
        self.shared().invalidate_all(how == Invalidate::Hard);
    }

    /// Has every idle connection pinged, and lends none of them again before its ping has
    /// succeeded: for managers that learn on one connection that something concerns them all.
    pub fn validate_idle(&self) {
        self.shared().change(|ledger, now| ledger.validate_idle(Duration::ZERO, now));
    }

    /// Lends nothing and opens nothing until [`resume`](Self::resume); callers wait within their
    /// deadlines. What is in use goes on and may come back.
    pub fn suspend(&self) {
        self.shared().change(Ledger::suspend);
    }

    /// Ends a suspension.
    pub fn resume(&self) {
        self.shared().change(Ledger::resume);
    }

    /// Opens connections until this many exist, at most `pool_size`, and at most for
    /// `pool_timeout`. While the pool is suspended nothing is opened; a `NullPool` keeps none, so
    /// there it is done at once.
    ///
    /// # Errors
    ///
    /// [`PoolError::Connect`] with the last failure if they could not be opened in time or the
    /// failure is permanent, [`PoolError::TimedOut`] if nothing failed and nothing came,
    /// [`PoolError::Closed`], or [`PoolError::NoRuntime`].
    ///
    /// # Cancel safety
    ///
    /// What was opened stays; nothing more is opened once the future is dropped.
    pub async fn prewarm(&self, connections: u32) -> Result<(), PoolError> {
        engine::prewarm(Arc::clone(self.shared()), connections).await
    }

    /// Closes the pool and waits up to [`DEFAULT_CLOSE_TIMEOUT`] (30 s) for what is lent.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    pub async fn close(&self) -> CloseReport {
        self.close_within(DEFAULT_CLOSE_TIMEOUT).await
    }

    /// Closes the pool: waiters get [`PoolError::Closed`], idle connections are closed at once,
    /// those in use when they come back. Waits for that until `limit`, and reports the
    /// holders that are left. May be called again, and by several callers.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    pub async fn close_within(&self, limit: Duration) -> CloseReport {
        engine::close(Arc::clone(self.shared()), limit).await
    }

    /// Whether the pool is closed or closing.
    pub fn is_closed(&self) -> bool {
        self.shared().read(Ledger::is_closed)
    }
}

impl<M: Manager> NullPool<M> {
    /// Starts to build a pool over this manager.
    pub fn builder(manager: M) -> Builder<Self> {
        Builder::new(manager)
    }
}

/// Everything a [`QueuePool`] can do, a `NullPool` can; there is just never anything idle.
impl<M: Manager> Deref for NullPool<M> {
    type Target = QueuePool<M>;
    fn deref(&self) -> &QueuePool<M> {
        &self.pool
    }
}

impl<M: Manager> Buildable for QueuePool<M> {
    type Manager = M;
    fn assemble(parts: PoolParts<M>) -> Self {
        Self::begin(Shared::new(parts, "QueuePool", true))
    }
}

impl<M: Manager> Buildable for NullPool<M> {
    type Manager = M;
    fn assemble(parts: PoolParts<M>) -> Self {
        Self { pool: QueuePool::begin(Shared::new(parts, "NullPool", false)) }
    }
}

impl<M: Manager> WeakPool<M> {
    /// The pool, if a handle to it still exists.
    pub fn upgrade(&self) -> Option<QueuePool<M>> {
        self.handle.upgrade().map(|handle| QueuePool { handle })
    }
}

impl<M: Manager> Clone for WeakPool<M> {
    fn clone(&self) -> Self {
        Self { handle: Weak::clone(&self.handle) }
    }
}

opaque_debug!([M: Manager] WeakPool<M>, "WeakPool", |_it| {});

impl<M: Manager> Clone for QueuePool<M> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<M: Manager> Clone for NullPool<M> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone() }
    }
}

impl<M: Manager> fmt::Debug for QueuePool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared();
        f.debug_struct(shared.read(|ledger| ledger.traits().kind))
            .field("name", &shared.name)
            .field("status", &self.status())
            .finish()
    }
}

impl<M: Manager> fmt::Debug for NullPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

/// Both pools are the same through [`Pool`].
macro_rules! impl_pool {
    ($pool:ident) => {
        impl<M: Manager> Pool for $pool<M> {
            type Connection = M::Connection;

            fn acquire_with<'life0, 'async_trait>(
                &'life0 self,
                request: Request,
            ) -> AcquireFuture<'async_trait, M::Connection>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(QueuePool::acquire_with(self, request))
            }

            fn try_acquire_with(&self, request: Request) -> Option<Lease<M::Connection>> {
                try_acquire(self.shared(), request)
            }

            fn name(&self) -> &str {
                QueuePool::name(self)
            }

            fn holders(&self) -> Vec<Holder> {
                QueuePool::holders(self)
            }

            fn status(&self) -> Status {
                QueuePool::status(self)
            }

            fn health(&self) -> Health {
                QueuePool::health(self)
            }

            fn close_within<'life0, 'async_trait>(
                &'life0 self,
                limit: Duration,
            ) -> CloseFuture<'async_trait>
            where
                'life0: 'async_trait,
                Self: 'async_trait,
            {
                Box::pin(QueuePool::close_within(self, limit))
            }
        }
    };
}

impl_pool!(QueuePool);
impl_pool!(NullPool);
