//! Builds the pool of a backend from its settings, and checks that it connects.

use crate::error::unsupported_pool;
use crate::pool::SqlPool;
use crate::pool_handle::WeakPoolHandle;
use crate::settings::SqlPoolSettings;
use crate::tracked::Tracked;
use millpond_core::{Manager, NullPool, PoolKind, QueuePool, Request};
use sqlx::{Database, Error};

/// Builds the queue or null pool of a server, and attaches it to its manager's handle.
///
/// # Errors
///
/// `Error::Configuration` for an invalid setting or another kind of pool.
pub fn build_server_pool<DB, M>(
    settings: &SqlPoolSettings<DB>,
    kind: PoolKind,
    manager: M,
    pool_handle: &WeakPoolHandle<DB>,
    server: &str,
) -> Result<SqlPool<DB>, Error>
where
    DB: Database,
    M: Manager<Connection = Tracked<DB>, Error = Error>,
{
    match kind {
        PoolKind::Queue => {
            let pool: QueuePool<_> =
                settings.build(manager, &settings.name, settings.config.clone())?;
            pool_handle.attach(&pool);
            Ok(SqlPool::from_queue(pool))
        }
        PoolKind::Null => {
            let pool: NullPool<_> =
                settings.build(manager, &settings.name, settings.config.clone())?;
            pool_handle.attach(&pool);
            Ok(SqlPool::from_null(pool))
        }
        other => Err(unsupported_pool(other, server)),
    }
}

/// Opens a connection, and a reader if there are readers, to check that connecting works; then
/// returns the pool. Sends no query, so that it also works behind a transaction pooler.
///
/// # Errors
///
/// The error of the connect.
///
/// # Cancel safety
///
/// If the future is dropped, the pool is dropped.
pub async fn check_connects<DB: Database>(pool: SqlPool<DB>) -> Result<SqlPool<DB>, Error> {
    drop(pool.lend(Request::here()).await?);
    if pool.is_split() {
        drop(pool.reader().acquire().await?);
    }
    Ok(pool)
}
