//! The PostgreSQL part of the service that is written for `sqlx::PgPool`, and the pools it runs on.

use crate::ponds::exercise;
use crate::support::server;
use millpond_postgres::{PgPool, PgPoolOptions, PoolKind};

pub const FIND: &str = "SELECT id, name, depth FROM ponds WHERE id = $1";
pub const RENAME: &str = "UPDATE ponds SET name = $1 WHERE id = $2";
pub const DELETE: &str = "DELETE FROM ponds WHERE id = $1";

/// Inserts a pond and returns its id.
pub async fn create(pool: &PgPool, name: &str, depth: i64) -> sqlx::Result<i64> {
    let insert = sqlx::query_scalar("INSERT INTO ponds (name, depth) VALUES ($1, $2) RETURNING id");
    insert.bind(name).bind(depth).fetch_one(pool).await
}

#[tokio::test]
async fn the_service_runs_on_every_kind_of_pool() {
    let Some(server) = server() else { return };
    for kind in [PoolKind::Null, PoolKind::Queue] {
        let url = server.schema("millpond_service").await;
        let pool = PgPoolOptions::new().pool(kind).connect(&url).await.unwrap();
        exercise(pool).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
}
