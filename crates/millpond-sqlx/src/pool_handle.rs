//! What the manager of a SQL backend may ask of the pool that owns it.

use crate::backing_pool::ManagedPool;
use crate::server_limits::ServerLimits;
use crate::statement_cache::SchemaChanges;
use crate::tracked::Tracked;
use millpond_core::{Invalidate, Manager, QueuePool, Reservation, WeakPool};
use sqlx::Database;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A manager's way to its own pool, which does not keep the pool alive. A backend makes one with
/// its manager and [joins](Self::attach) it when the pool is built; until then, and in a pool of
/// another kind, nobody answers: what would be asked of the pool is left undone.
pub struct WeakPoolHandle<DB: Database>(Arc<OnceLock<Box<dyn UpgradePool<DB>>>>);

impl<DB: Database> WeakPoolHandle<DB> {
    /// A link that leads nowhere yet.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Leads to this pool from now on; a link is joined once.
    pub fn attach<M: Manager<Connection = Tracked<DB>>>(&self, pool: &QueuePool<M>) {
        let _attached_before = self.0.set(Box::new(pool.downgrade()));
    }

    /// Tells the pool's observers and the log that a setting does not fit the server.
    pub fn warn(&self, setting: &'static str, message: String) {
        if let Some(pool) = self.pool() {
            pool.warn(setting, message);
        }
    }

    /// Warns of everything in the pool's settings that does not fit what its server allows.
    pub fn compare(&self, limits: &ServerLimits) {
        if let Some(pool) = self.pool() {
            limits
                .misfits(&pool.config())
                .into_iter()
                .for_each(|(setting, message)| pool.warn(setting, message));
        }
    }

    /// A place under the pool's cap for a connection past the pool, if there is room.
    pub fn try_reserve(&self) -> Option<Reservation> {
        self.pool()?.try_reserve()
    }

    /// Whether the pool is there and neither closed nor closing.
    pub(crate) fn is_open(&self) -> bool {
        self.pool().is_some_and(|pool| !pool.status().closed)
    }

    /// Has every idle connection of the pool pinged before it is lent again.
    pub fn validate_idle(&self) {
        if let Some(pool) = self.pool() {
            pool.validate_idle();
        }
    }

    /// What the connections of the pool notice of changes of the schema: for managers, one for each
    /// pool.
    pub fn schema_changes(&self) -> SchemaChanges {
        let pool = self.clone();
        SchemaChanges::new(move || pool.validate_idle())
    }

    /// Retires what was opened before the attempt to connect that is under way, and that attempt as
    /// well.
    pub fn retire_older(&self) {
        if let Some(pool) = self.pool() {
            pool.invalidate_all(Invalidate::Soft);
        }
    }

    pub(crate) fn pool(&self) -> Option<Box<dyn ManagedPool<DB>>> {
        self.0.get()?.pool()
    }
}

/// A pool that may be gone.
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
