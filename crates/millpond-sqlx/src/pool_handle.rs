//! The handle through which the manager of an SQL backend reaches its pool.

use crate::backing_pool::ManagedPool;
use crate::server_limits::ServerLimits;
use crate::statement_cache::SchemaChanges;
use crate::tracked::Tracked;
use millpond_core::{Invalidate, Manager, QueuePool, Reservation, WeakPool};
use sqlx::Database;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A manager's handle to its own pool, which does not keep the pool alive. A backend creates it
/// with its manager and [attaches](Self::attach) it when the pool is built; until then, and in a
/// custom pool, its methods do nothing.
pub struct WeakPoolHandle<DB: Database>(Arc<OnceLock<Box<dyn UpgradePool<DB>>>>);

impl<DB: Database> WeakPoolHandle<DB> {
    /// Creates a handle without a pool.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Attaches the handle to a pool. Only the first call has an effect.
    pub fn attach<M: Manager<Connection = Tracked<DB>>>(&self, pool: &QueuePool<M>) {
        let _attached_before = self.0.set(Box::new(pool.downgrade()));
    }

    /// Reports to the pool's observers and the log that a setting does not fit the server.
    pub fn warn(&self, setting: &'static str, message: String) {
        if let Some(pool) = self.pool() {
            pool.warn(setting, message);
        }
    }

    /// Warns about every setting of the pool that exceeds what its server allows.
    pub fn compare(&self, limits: &ServerLimits) {
        if let Some(pool) = self.pool() {
            limits
                .misfits(&pool.config())
                .into_iter()
                .for_each(|(setting, message)| pool.warn(setting, message));
        }
    }

    /// Reserves a slot for a connection outside the pool, if one is free.
    pub fn try_reserve(&self) -> Option<Reservation> {
        self.pool()?.try_reserve()
    }

    /// Returns true if the pool exists and is neither closed nor closing.
    pub(crate) fn is_open(&self) -> bool {
        self.pool().is_some_and(|pool| !pool.status().closed)
    }

    /// Makes the pool ping every idle connection before it is lent again.
    pub fn validate_idle(&self) {
        if let Some(pool) = self.pool() {
            pool.validate_idle();
        }
    }

    /// Creates the counter of the pool's schema changes, for managers.
    pub fn schema_changes(&self) -> SchemaChanges {
        let (pool, older) = (self.clone(), self.clone());
        SchemaChanges::new(move || pool.validate_idle(), move || older.retire_older())
    }

    /// Retires all connections opened so far, including the one that is being opened.
    pub fn retire_older(&self) {
        if let Some(pool) = self.pool() {
            pool.invalidate_all(Invalidate::Soft);
        }
    }

    pub(crate) fn pool(&self) -> Option<Box<dyn ManagedPool<DB>>> {
        self.0.get()?.pool()
    }
}

/// A weak reference to a pool with any manager.
trait UpgradePool<DB: Database>: Send + Sync {
    fn pool(&self) -> Option<Box<dyn ManagedPool<DB>>>;
}

impl<DB: Database, M: Manager<Connection = Tracked<DB>>> UpgradePool<DB> for WeakPool<M> {
    fn pool(&self) -> Option<Box<dyn ManagedPool<DB>>> {
        Some(Box::new(self.upgrade()?))
    }
}

impl<DB: Database> Default for WeakPoolHandle<DB> {
    fn default() -> Self {
        Self::new()
    }
}

impl<DB: Database> Clone for WeakPoolHandle<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Database> fmt::Debug for WeakPoolHandle<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakPoolHandle").field("joined", &self.0.get().is_some()).finish()
    }
}
