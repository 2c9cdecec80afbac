//! The SQLite part of the service that is written for `sqlx::SqlitePool`, and the pools it runs on.

use crate::ponds::exercise;
use crate::support::Dir;
use millpond_sqlite::{PoolKind, SqlitePool, SqlitePoolOptions};

pub const FIND: &str = "SELECT id, name, depth FROM ponds WHERE id = ?";
pub const RENAME: &str = "UPDATE ponds SET name = ? WHERE id = ?";
pub const DELETE: &str = "DELETE FROM ponds WHERE id = ?";

/// Inserts a pond and returns its id.
pub async fn create(pool: &SqlitePool, name: &str, depth: i64) -> sqlx::Result<i64> {
    let insert =
        sqlx::query("INSERT INTO ponds (name, depth) VALUES (?, ?)").bind(name).bind(depth);
    Ok(insert.execute(pool).await?.last_insert_rowid())
}

#[tokio::test]
async fn the_service_runs_on_every_kind_of_pool() {
    for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
        let dir = Dir::new();
        let pool = SqlitePoolOptions::new().pool(kind).connect(&dir.url("ponds.db")).await.unwrap();
        exercise(pool).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
}

#[tokio::test]
async fn the_service_runs_in_memory() {
    exercise(SqlitePoolOptions::new().connect("sqlite::memory:").await.unwrap()).await.unwrap();
}
