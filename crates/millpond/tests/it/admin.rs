//! Status and control of a connection's pool at run time.

use crate::world::{Directory, everywhere, memory};
use millpond::core::NullPool;
use millpond::sqlite::{SqlPool, SqliteManager, SqlitePoolOptions};
use millpond::{DatabaseConnection, DatabaseLease, PoolKind, pool_error};
use std::sync::Arc;
use std::time::Duration;

async fn split(files: &Directory) -> DatabaseConnection {
    let builder =
        DatabaseConnection::builder(&files.url("a.db")).pool(PoolKind::ReadWrite).pool_size(3);
    builder.connect().await.unwrap()
}

#[tokio::test]
async fn one_writer_and_many_readers_have_one_status() {
    let files = Directory::new();
    let db = split(&files).await;
    let (writer, reader) = (db.acquire().await.unwrap(), db.reader().acquire().await.unwrap());
    let status = db.status();
    assert_eq!((status.pool_size, status.limit(), status.in_use, status.open), (4, 4, 2, 2));
    assert_eq!((db.holders().len(), db.reader().holders().len()), (2, 1));
    assert_eq!(status.totals.created, 2);
    drop((writer, reader));
    assert_eq!(db.status().in_use, 0);
}

#[tokio::test]
async fn a_resize_of_one_writer_and_many_readers_changes_the_readers() {
    let files = Directory::new();
    let db = split(&files).await;
    db.resize(5, 7).unwrap();
    assert_eq!(
        (db.status().pool_size, db.status().max_overflow, db.reader().status().pool_size),
        (6, 7, 5)
    );
    let error = db.resize(0, 0).unwrap_err();
    assert!(error.to_string().contains("pool_size = 0 is out of range 1-50"), "{error}");
}

#[tokio::test]
async fn a_suspended_pool_lends_nothing_until_it_is_resumed() {
    for db in everywhere().await {
        db.suspend();
        let error = db.acquire_within(Duration::from_millis(20)).await.unwrap_err();
        assert!(pool_error(&error).is_some() && db.status().suspended, "{}: {error}", db.dialect());
        db.resume();
        db.ping().await.unwrap();
        assert!(!db.status().suspended, "{}", db.dialect());
    }
}

#[tokio::test]
async fn prewarmed_connections_are_idle_before_the_first_acquire() {
    let files = Directory::new();
    let db = split(&files).await;
    db.prewarm(3).await.unwrap();
    assert_eq!((db.reader().status().idle, db.status().idle), (3, 4));
}

#[tokio::test]
async fn a_ping_succeeds_on_an_open_pool_and_fails_on_a_closed_one() {
    for db in everywhere().await {
        db.ping().await.unwrap();
        assert!(db.close().await.is_clean());
        assert!(matches!(db.ping().await, Err(sqlx::Error::PoolClosed)), "{}", db.dialect());
    }
}

#[tokio::test]
async fn a_detached_connection_still_works_and_no_longer_counts() {
    for db in everywhere().await {
        if db.dialect() == millpond::Dialect::Sqlite {
            // The only connection of an in-memory database is the database.
            continue;
        }
        let mut conn = DatabaseLease::detach(db.acquire().await.unwrap());
        assert_eq!((db.status().open, db.status().totals.detached), (0, 1));
        let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *conn).await.unwrap();
        assert_eq!((one, conn.dialect()), (1, db.dialect()));
    }
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::Queue)
        .connect()
        .await
        .unwrap();
    let mut conn = DatabaseLease::detach(db.acquire().await.unwrap());
    let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&mut *conn).await.unwrap();
    assert_eq!((one, db.status().open, db.status().totals.detached), (1, 0, 1));
}

#[tokio::test]
async fn a_connection_can_wrap_a_typed_pool_and_a_custom_pool() {
    let files = Directory::new();
    let url = files.url("a.db");
    let typed =
        SqlitePoolOptions::new().pool(PoolKind::Queue).pool_size(2).connect(&url).await.unwrap();
    let db = DatabaseConnection::from(typed.clone());
    sqlx::query("CREATE TABLE t (n INTEGER)").execute(&db).await.unwrap();
    assert_eq!((db.status().pool_size, db.explain().rows.len()), (2, 0));
    let manager = SqliteManager::new(SqlitePoolOptions::parse_url(&url).unwrap());
    let own = NullPool::builder(manager).pool_size(1).max_overflow(0).build().unwrap();
    let custom = DatabaseConnection::from(SqlPool::from_custom(Arc::new(own)));
    sqlx::query("INSERT INTO t VALUES ($1)").bind(7_i64).execute(&custom).await.unwrap();
    let n: i64 = sqlx::query_scalar("SELECT n FROM t").fetch_one(&db).await.unwrap();
    assert_eq!((n, custom.status().limit()), (7, 1));
    let error = custom.resize(2, 0).unwrap_err();
    assert!(error.to_string().contains("your own"), "{error}");
}

#[tokio::test]
async fn a_database_in_memory_is_prewarmed_with_its_one_connection() {
    let db = memory().await;
    db.prewarm(1).await.unwrap();
    assert_eq!(db.status().open, 1);
}
