//! Migrations, on a connection that is not lent again unless they went well.
//!
//! On PostgreSQL and MySQL the lock that keeps other migrators out is the session's. sqlx gives it
//! back only at a good end, so a session in which migrations failed or were cut off has to end, or
//! nobody else can migrate while it lives.

use millpond_sqlx::{SqlLease, SqlPool};
use sqlx::Database;
use sqlx::migrate::{Migrate, MigrateError, Migrator};

/// Applies the migrations that are still missing.
///
/// # Errors
///
/// The migrator's, and that no connection could be had.
pub(crate) async fn migrate<DB>(pool: &SqlPool<DB>, migrator: &Migrator) -> Result<(), MigrateError>
where
    DB: Database<Connection: Migrate>,
{
    let mut site = Site(Some(pool.acquire().await?));
    let Some(lease) = &mut site.0 else { return Ok(()) };
    migrator.run(&mut *lease).await?;
    site.0 = None;
    Ok(())
}

/// The connection on which migrations are under way.
struct Site<DB: Database>(Option<SqlLease<DB>>);

impl<DB: Database> Drop for Site<DB> {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            SqlLease::discard(lease);
        }
    }
}
