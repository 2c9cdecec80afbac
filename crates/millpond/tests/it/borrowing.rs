//! Leases, the three numbers, and closing a pool.

use crate::world::{Directory, everywhere, memory, users_in_memory};
use futures_util::TryStreamExt;
use millpond::{DatabaseConnection, DatabaseLease, Dialect, Invalidate, PoolKind, pool_error};

#[tokio::test]
async fn the_three_numbers_follow_what_is_lent() {
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::Queue)
        .pool_size(2)
        .connect()
        .await
        .unwrap();
    let numbers = || {
        let metrics = db.performance_metrics();
        (metrics.pool_size, metrics.pool_in_use, metrics.pool_available)
    };
    assert_eq!(numbers(), (2, 0, 2));
    let one = db.acquire().await.unwrap();
    assert_eq!(numbers(), (2, 1, 1));
    let more = (db.acquire().await.unwrap(), db.acquire().await.unwrap());
    assert_eq!(numbers(), (2, 3, 0));
    drop((one, more));
    assert_eq!(numbers(), (2, 0, 2));
    assert_eq!(
        db.performance_metrics().named().map(|(name, _)| name),
        ["pool_size", "pool_in_use", "pool_available"]
    );
}

#[tokio::test]
async fn the_numbers_of_one_writer_and_many_readers_are_sums_of_both() {
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::ReadWrite)
        .pool_size(3)
        .connect()
        .await
        .unwrap();
    let lease = db.reader().acquire().await.unwrap();
    let writer = db.acquire().await.unwrap();
    let metrics = db.performance_metrics();
    assert_eq!((metrics.pool_size, metrics.pool_in_use, metrics.pool_available), (4, 2, 2));
    drop((lease, writer));
}

#[tokio::test]
async fn with_one_writer_a_reader_cannot_write_and_the_pool_can() {
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::ReadWrite)
        .connect()
        .await
        .unwrap();
    sqlx::query("CREATE TABLE t (n INTEGER)").execute(&db).await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&db).await.unwrap();
    assert!(sqlx::query("INSERT INTO t VALUES (2)").execute(&db.reader()).await.is_err());
    assert_eq!(
        sqlx::query_scalar::<_, i64>("SELECT sum(n) FROM t").fetch_one(&db).await.unwrap(),
        1
    );
}

#[tokio::test]
async fn a_holder_is_named_by_the_line_that_acquired() {
    let db = memory().await;
    let line = line!() + 1;
    let lease = db.acquire().await.unwrap();
    let holders = db.holders();
    assert_eq!(holders.len(), 1);
    assert!(holders[0].location.file().ends_with("borrowing.rs"), "{}", holders[0]);
    assert_eq!(holders[0].location.line(), line);
    drop(lease);
    let line = line!() + 1;
    let tx = db.begin().await.unwrap();
    assert_eq!(db.holders()[0].location.line(), line);
    drop(tx);
}

#[tokio::test]
async fn a_query_on_the_pool_is_named_by_its_first_words_and_no_value() {
    for db in everywhere().await {
        let mut rows = sqlx::query("SELECT 1 AS n UNION ALL SELECT 4711").fetch(&db);
        rows.try_next().await.unwrap();
        let labels: Vec<_> = db.holders().iter().filter_map(|holder| holder.label).collect();
        assert_eq!(labels, ["SELECT"], "{}", db.dialect());
        drop(rows);
        let sql = "WITH a AS (SELECT 1 AS n UNION ALL SELECT 2) SELECT n FROM a";
        let mut rows = sqlx::query(sql).fetch(&db);
        rows.try_next().await.unwrap();
        assert_eq!(db.holders()[0].label, Some("WITH a AS"), "{}", db.dialect());
    }
}

#[tokio::test]
async fn try_acquire_lends_only_a_connection_that_is_ready() {
    let db = memory().await;
    let lease = db.try_acquire().unwrap();
    assert!(db.try_acquire().is_none());
    assert_eq!(DatabaseLease::info(&lease).uses, 2, "the first use was the connect");
}

#[tokio::test]
async fn the_typed_pool_and_the_typed_connection_are_accessible() {
    let db = users_in_memory(&["Ada"]).await;
    assert_eq!(db.dialect(), Dialect::Sqlite);
    let typed = db.as_sqlite().unwrap();
    let name: String = sqlx::query_scalar("SELECT name FROM users").fetch_one(typed).await.unwrap();
    assert_eq!(name, "Ada");
    let mut lease = db.acquire().await.unwrap();
    let typed = lease.as_sqlite().unwrap();
    let name: String =
        sqlx::query_scalar("SELECT name FROM users").fetch_one(&mut *typed).await.unwrap();
    assert_eq!(name, "Ada");
}

#[tokio::test]
async fn a_closed_pool_says_so() {
    let db = memory().await;
    assert!(db.close().await.is_clean());
    assert!(db.is_closed());
    let error = sqlx::query("SELECT 1").execute(&db).await.unwrap_err();
    assert!(matches!(error, sqlx::Error::PoolClosed));
    assert!(pool_error(&error).unwrap().is_closed());
}

#[tokio::test]
async fn sizes_change_and_connections_are_invalidated_at_run_time() {
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::Queue)
        .connect()
        .await
        .unwrap();
    db.resize(1, 0).unwrap();
    assert_eq!(db.status().limit(), 1);
    assert!(db.resize(0, 0).is_err());
    db.invalidate_all(Invalidate::Soft);
    drop(db.acquire().await.unwrap());
    assert_eq!(db.status().totals.created, 2);
}

#[tokio::test]
async fn a_discarded_connection_is_not_lent_again() {
    let files = Directory::new();
    let db = DatabaseConnection::builder(&files.url("a.db"))
        .pool(PoolKind::Queue)
        .connect()
        .await
        .unwrap();
    let lease = db.acquire().await.unwrap();
    let id = DatabaseLease::info(&lease).id;
    DatabaseLease::discard(lease);
    assert_ne!(DatabaseLease::info(&db.acquire().await.unwrap()).id, id);
}
