//! Where a `SqlPool` gets its connections from: one of our pools, or one of the user's own.

use crate::error::{config_error, lending_error};
use crate::lease::SqlLease;
use crate::tracked::Tracked;
use futures_core::future::BoxFuture;
use millpond_core::{Holder, Invalidate, Manager, Pool, PoolConfig, QueuePool, Request, Reservation};
use sqlx::{Database, Error};
use std::future::Future;
use std::sync::Arc;

/// A pool of tracked connections, with or without what only our own pools can do.
pub(crate) enum Source<DB: Database> {
    Ours(Arc<dyn Steered<DB>>),
    Custom(Arc<dyn Pool<Connection = Tracked<DB>>>),
}

impl<DB: Database> Clone for Source<DB> {
    fn clone(&self) -> Self {
        match self {
            Self::Ours(pool) => Self::Ours(Arc::clone(pool)),
            Self::Custom(pool) => Self::Custom(Arc::clone(pool)),
        }
    }
}

impl<DB: Database> Source<DB> {
    pub(crate) fn lend(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<SqlLease<DB>, Error>> + Send + 'static + use<DB> {
        let pool = self.to_pool();
        async move { pool.acquire_with(request).await.map(SqlLease::new).map_err(lending_error) }
    }

    pub(crate) fn as_pool(&self) -> &dyn Pool<Connection = Tracked<DB>> {
        match self {
            Self::Ours(pool) => &**pool,
            Self::Custom(pool) => &**pool,
        }
    }

    pub(crate) fn to_pool(&self) -> Arc<dyn Pool<Connection = Tracked<DB>>> {
        match self {
            Self::Ours(pool) => Arc::<dyn Steered<DB>>::clone(pool),
            Self::Custom(pool) => Arc::clone(pool),
        }
    }

    /// What only our own pools can do.
    pub(crate) fn steered(&self) -> Option<&dyn Steered<DB>> {
        match self {
            Self::Ours(pool) => Some(&**pool),
            Self::Custom(_) => None,
        }
    }
}

/// What our own pools can do beyond [`Pool`], whoever their manager is. A `NullPool` is a `QueuePool` that keeps nothing.
pub(crate) trait Steered<DB: Database>: Pool<Connection = Tracked<DB>> {
    fn holders(&self) -> Vec<Holder>;
    fn resize(&self, pool_size: u32, max_overflow: u32) -> Result<(), Error>;
    fn invalidate_all(&self, how: Invalidate);
    fn suspend(&self);
    fn resume(&self);
    fn prewarm(&self, idle: u32) -> BoxFuture<'_, Result<(), Error>>;
    fn try_reserve(&self) -> Option<Reservation>;
    fn config(&self) -> PoolConfig;
    fn warn(&self, setting: &'static str, message: String);
}

impl<DB: Database, M: Manager<Connection = Tracked<DB>>> Steered<DB> for QueuePool<M> {
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
}
