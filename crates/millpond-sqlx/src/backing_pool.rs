//! The pool behind a `SqlPool`: one of millpond's, or a custom one.

use crate::error::{config_error, lending_error, sqlx_error};
use crate::lease::SqlLease;
use crate::time_limits::{CurrentLease, Limits};
use crate::tracked::Tracked;
use either::Either;
use futures_core::future::BoxFuture;
use millpond_core::{
    CloseReason, Holder, Invalidate, Lease, Manager, Pool, PoolConfig, PoolError, QueuePool,
    Request, Reservation, Triage,
};
use sqlx::{Database, Error};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::timeout;

/// A pool of tracked connections.
pub(crate) enum BackingPool<DB: Database> {
    Managed(Arc<dyn ManagedPool<DB>>),
    Custom(Arc<dyn Pool<Connection = Tracked<DB>>>),
}

impl<DB: Database> Clone for BackingPool<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::Managed(pool) => Self::Managed(Arc::clone(pool)),
            Self::Custom(pool) => Self::Custom(Arc::clone(pool)),
        }
    }
}

impl<DB: Database> BackingPool<DB> {
    pub(crate) fn lend(
        &self,
        request: Request,
        limits: Limits,
    ) -> impl Future<Output = Result<SqlLease<DB>, Error>> + Send + 'static + use<DB> {
        let backing = self.clone();
        // For a query on the pool the location is in this crate.
        let location = request.label.is_none().then_some(request.location);
        async move {
            let outcome = match &backing {
                Self::Managed(pool) => {
                    match poll_fn(|cx| Poll::Ready(pool.begin_acquire(request, cx))).await {
                        Either::Left(outcome) => outcome,
                        Either::Right(waiting) => waiting.await,
                    }
                }
                Self::Custom(pool) => pool.acquire_with(request).await,
            };
            let as_sqlx = if limits.sqlx_timeouts { sqlx_error } else { lending_error };
            let mut lease = backing.check_identity(outcome.map_err(as_sqlx)?)?;
            lease.begin_lease(CurrentLease::new(limits, location));
            Ok(lease)
        }
    }

    /// Returns the lease, if its connection still leads to what it was opened for.
    pub(crate) fn check_identity(&self, lease: Lease<Tracked<DB>>) -> Result<SqlLease<DB>, Error> {
        if let Err(error) = lease.check_identity() {
            Lease::discard(lease, CloseReason::Discarded);
            return Err(error);
        }
        Ok(SqlLease::new(lease))
    }

    pub(crate) fn as_pool(&self) -> &dyn Pool<Connection = Tracked<DB>> {
        match self {
            Self::Managed(pool) => &**pool,
            Self::Custom(pool) => &**pool,
        }
    }

    pub(crate) fn to_pool(&self) -> Arc<dyn Pool<Connection = Tracked<DB>>> {
        match self {
            Self::Managed(pool) => Arc::<dyn ManagedPool<DB>>::clone(pool),
            Self::Custom(pool) => Arc::clone(pool),
        }
    }

    /// Returns the pool if it is one of millpond's.
    pub(crate) fn managed_pool(&self) -> Option<&dyn ManagedPool<DB>> {
        match self {
            Self::Managed(pool) => Some(&**pool),
            Self::Custom(_) => None,
        }
    }
}

/// The result of an acquire.
type Lent<DB> = Result<Lease<Tracked<DB>>, PoolError>;

/// What millpond's pools can do beyond [`Pool`], with any manager. A `NullPool` is a `QueuePool`
/// that keeps no connections.
pub(crate) trait ManagedPool<DB: Database>: Pool<Connection = Tracked<DB>> {
    /// Polls an acquire once. Only one that has to wait is boxed.
    fn begin_acquire(
        &self,
        request: Request,
        cx: &mut Context<'_>,
    ) -> Either<Lent<DB>, BoxFuture<'static, Lent<DB>>>;
    fn holders(&self) -> Vec<Holder>;
    fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), Error>;
    fn invalidate_all(&self, how: Invalidate);
    fn suspend(&self);
    fn resume(&self);
    fn prewarm(&self, idle: u32) -> BoxFuture<'_, Result<(), Error>>;
    fn try_reserve(&self) -> Option<Reservation>;
    fn config(&self) -> PoolConfig;
    fn warn(&self, setting: &'static str, message: String);
    fn validate_idle(&self);
    /// Resets a connection within `ping_timeout`, as the pool does between two borrowers. Returns
    /// false if it must be closed.
    fn make_reusable<'a>(&'a self, conn: &'a mut Tracked<DB>) -> BoxFuture<'a, bool>;
}

impl<DB: Database, M: Manager<Connection = Tracked<DB>>> ManagedPool<DB> for QueuePool<M> {
    fn begin_acquire(
        &self,
        request: Request,
        cx: &mut Context<'_>,
    ) -> Either<Lent<DB>, BoxFuture<'static, Lent<DB>>> {
        let mut acquire = self.acquire_with(request);
        match Pin::new(&mut acquire).poll(cx) {
            Poll::Ready(outcome) => Either::Left(outcome),
            Poll::Pending => Either::Right(Box::pin(acquire)),
        }
    }

    fn holders(&self) -> Vec<Holder> {
        self.holders()
    }

    fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), Error> {
        self.resize(pool_size, max_overflow).map_err(config_error)
    }

    fn invalidate_all(&self, how: Invalidate) {
        self.invalidate_all(how);
    }

    fn suspend(&self) {
        self.suspend();
    }

    fn resume(&self) {
        self.resume();
    }

    fn prewarm(&self, idle: u32) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.prewarm(idle).await.map_err(lending_error) })
    }

    fn try_reserve(&self) -> Option<Reservation> {
        self.try_reserve()
    }

    fn config(&self) -> PoolConfig {
        self.config()
    }

    fn warn(&self, setting: &'static str, message: String) {
        self.warn(setting, message);
    }

    fn validate_idle(&self) {
        self.validate_idle();
    }

    fn make_reusable<'a>(&'a self, conn: &'a mut Tracked<DB>) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let manager = self.manager();
            match manager.triage(conn) {
                Triage::Keep => true,
                Triage::Reset => {
                    let reset = timeout(self.config().ping_timeout, manager.reset(conn)).await;
                    matches!(reset, Ok(Ok(()))) && !manager.undoes_on_connect(conn)
                }
                _ => false,
            }
        })
    }
}
