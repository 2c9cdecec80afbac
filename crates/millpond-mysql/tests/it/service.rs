//! The MySQL part of the service that is written for `sqlx::MySqlPool`, and the pools it runs on.

use crate::ponds::exercise;
use crate::support::server;
use millpond_mysql::{MySqlPool, MySqlPoolOptions, PoolKind};

pub const FIND: &str = "SELECT id, name, depth FROM ponds WHERE id = ?";
pub const RENAME: &str = "UPDATE ponds SET name = ? WHERE id = ?";
pub const DELETE: &str = "DELETE FROM ponds WHERE id = ?";

/// Inserts a pond and returns its id.
pub async fn create(pool: &MySqlPool, name: &str, depth: i64) -> sqlx::Result<i64> {
    let insert =
        sqlx::query("INSERT INTO ponds (name, depth) VALUES (?, ?)").bind(name).bind(depth);
    let id = insert.execute(pool).await?.last_insert_id();
    i64::try_from(id).map_err(|error| sqlx::Error::Decode(error.into()))
}

#[tokio::test]
async fn the_service_runs_on_every_kind_of_pool() {
    let Some(server) = server() else { return };
    for kind in [PoolKind::Null, PoolKind::Queue] {
        let url = server.database("millpond_service").await;
        let pool = MySqlPoolOptions::new().pool(kind).connect(&url).await.unwrap();
        exercise(pool).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
}
