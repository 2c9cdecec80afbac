//! `migrate!().run(&pool)`: once, twice, and on the writer.

use crate::support::Dir;
use millpond_sqlite::{PoolKind, SqlitePoolOptions};
use sqlx::migrate::Migrator;

static MIGRATIONS: Migrator = sqlx::migrate!("tests/migrations");

#[tokio::test]
async fn migrations_run_once_on_every_kind_of_pool() {
    for kind in [PoolKind::Null, PoolKind::Queue, PoolKind::ReadWrite] {
        let dir = Dir::new();
        let pool = SqlitePoolOptions::new().pool(kind).connect(&dir.url("m.db")).await.unwrap();
        MIGRATIONS.run(&pool).await.unwrap();
        MIGRATIONS.run(&pool).await.unwrap();
        let names: Vec<String> =
            sqlx::query_scalar("SELECT name FROM ponds").fetch_all(&pool).await.unwrap();
        assert_eq!(names, ["founders"], "{kind:?}");
        let applied: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations")
            .fetch_one(&pool)
            .await
            .unwrap();
        assert_eq!(applied, 2);
    }
}

#[tokio::test]
async fn migrations_run_on_a_lease_and_in_memory() {
    let pool = SqlitePoolOptions::new().connect("sqlite::memory:").await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    MIGRATIONS.run(&mut lease).await.unwrap();
    drop(lease);
    let names: Vec<String> =
        sqlx::query_scalar("SELECT name FROM ponds").fetch_all(&pool).await.unwrap();
    assert_eq!(names, ["founders"]);
}
