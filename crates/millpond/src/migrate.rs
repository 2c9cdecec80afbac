//! Runs migrations on a connection that is lent again only if they succeeded.
//!
//! On PostgreSQL and MySQL migrations take a session lock, which sqlx releases only on success. So
//! a session whose migrations failed or were dropped is closed; otherwise its lock would block all
//! other migrations.

use millpond_sqlx::{SqlLease, SqlPool};
use sqlx::Database;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

/// Applies the migrations that are still missing.
///
/// # Errors
///
/// The migrator's error, or an error if no connection could be acquired.
pub(crate) async fn migrate<DB>(pool: &SqlPool<DB>, migrator: &Migrator) -> Result<(), MigrateError>
where
    DB: Database<Connection: Migrate>,
{
    let mut connection = MigrationConnection(Some(pool.acquire().await?));
    let Some(lease) = &mut connection.0 else { return Ok(()) };
    migrator.run(&mut *lease).await?;
    connection.0 = None;
    Ok(())
}

/// The connection on which migrations run.
struct MigrationConnection<DB: Database>(Option<SqlLease<DB>>);

impl<DB: Database> Drop for MigrationConnection<DB> {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            SqlLease::discard(lease);
        }
    }
}
