//! Drops futures at every poll: no slot is lost and no transaction stays open.

use crate::support::{Dir, ENDLESS, abandon_endless, one};
use millpond_sqlite::ResetLevel;
use millpond_testkit::{Trace, poll_n};
use sqlx::raw_sql;

// B01
#[tokio::test]
async fn a_begin_cancelled_at_any_poll_leaves_no_transaction_open() {
    let dir = Dir::new();
    let pool = dir.one().await;
    sqlx::query("CREATE TABLE t (i INTEGER)").execute(&pool).await.unwrap();
    let (mut cut, mut round) = (0, 0);
    // The worker may answer within the first poll; then nothing was dropped half-way.
    while cut < 40 || round < 200 {
        round += 1;
        assert!(round < 10_000, "no begin was cut off");
        let polls = 1 + round % 5;
        if poll_n(pool.begin(), polls).await.is_none() {
            cut += 1;
        }
        let mut lease = pool.acquire().await.unwrap();
        lease.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_commit_cancelled_at_any_poll_is_complete_or_has_no_effect() {
    let dir = Dir::new();
    let pool = dir.one().await;
    sqlx::query("CREATE TABLE t (i INTEGER)").execute(&pool).await.unwrap();
    for round in 0..100 {
        let mut tx = pool.begin().await.unwrap();
        for _ in 0..2 {
            sqlx::query("INSERT INTO t VALUES (?)").bind(round).execute(&mut *tx).await.unwrap();
        }
        let committed =
            poll_n(tx.commit(), 1 + usize::try_from(round).unwrap() % 3).await.is_some();
        let sql = "SELECT COUNT(*) FROM t WHERE i = ?";
        let rows: i64 = sqlx::query_scalar(sql).bind(round).fetch_one(&pool).await.unwrap();
        assert!(rows == 2 || (rows == 0 && !committed), "{rows} {committed}");
        let mut lease = pool.acquire().await.unwrap();
        lease.begin_with("BEGIN IMMEDIATE").await.unwrap().rollback().await.unwrap();
    }
}

#[tokio::test]
async fn a_query_through_the_pool_cancelled_at_any_poll_loses_no_connection() {
    let dir = Dir::new();
    let trace = Trace::new();
    let pool = one().observer(trace.clone()).connect(&dir.url("one.db")).await.unwrap();
    for polls in 0..60 {
        let _ = poll_n(sqlx::query("SELECT 1").fetch_one(&pool), polls % 6).await;
        let _ = poll_n(sqlx::query("VALUES (1), (2)").fetch_all(&pool), polls % 6).await;
        abandon_endless(&pool).await;
    }
    let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
    assert_eq!(one, 1);
    assert!(trace.closed().is_empty(), "{:?}", trace.closed());
    assert_eq!(trace.count("connected"), 1);
}

#[tokio::test]
async fn a_transaction_can_go_on_or_roll_back_after_a_query_in_it_was_dropped() {
    let dir = Dir::new();
    let pool = dir.one().await;
    sqlx::query("CREATE TABLE t (i INTEGER)").execute(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
    assert!(poll_n(sqlx::query(ENDLESS).fetch_one(&mut *tx), 1).await.is_none());
    // A commit that waits for the endless query would never complete.
    tx.commit().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await.unwrap();
    assert!(poll_n(sqlx::query(ENDLESS).fetch_one(&mut *tx), 1).await.is_none());
    tx.rollback().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO t VALUES (3)").execute(&mut *tx).await.unwrap();
    assert!(poll_n(sqlx::query(ENDLESS).fetch_one(&mut *tx), 1).await.is_none());
    drop(tx);
    let rows: Vec<i64> = sqlx::query_scalar("SELECT i FROM t").fetch_all(&pool).await.unwrap();
    assert_eq!(rows, [1]);
}

#[tokio::test]
async fn a_close_does_not_wait_for_an_abandoned_query() {
    let dir = Dir::new();
    for kind in [millpond_sqlite::PoolKind::Null, millpond_sqlite::PoolKind::Queue] {
        let options = millpond_sqlite::SqlitePoolOptions::new().pool(kind);
        let trace = Trace::new();
        let pool = options.observer(trace.clone()).connect(&dir.url("x.db")).await.unwrap();
        abandon_endless(&pool).await;
        pool.close().await;
        let dirty = trace.pick(|event| match event {
            millpond_core::Event::Closed { error: Some(error), .. } => Some(error.to_string()),
            _ => None,
        });
        assert!(dirty.is_empty(), "{dirty:?}");
    }
}

#[tokio::test]
async fn a_transaction_is_lost_with_an_error_when_the_begin_of_a_savepoint_is_dropped() {
    let dir = Dir::new();
    let pool = dir.one().await;
    sqlx::query("CREATE TABLE t (i INTEGER)").execute(&pool).await.unwrap();
    let (mut lost, mut round) = (0, 0_u32);
    // The worker may answer within the first poll; then nothing was dropped half-way.
    while lost < 10 {
        round += 1;
        assert!(round < 10_000, "no begin was cut off");
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut *tx).await.unwrap();
        let begun = poll_n(async { tx.begin().await?.rollback().await }, 1 + round as usize % 3)
            .await
            .is_some();
        let insert = sqlx::query("INSERT INTO t VALUES (2)").execute(&mut *tx).await;
        if begun {
            insert.unwrap();
            tx.rollback().await.unwrap();
        } else if let Err(error) = insert {
            assert!(error.to_string().contains("the transaction is lost"), "{error}");
            if round % 2 == 0 {
                tx.commit().await.unwrap_err();
            } else {
                tx.rollback().await.unwrap();
            }
            lost += 1;
        } else {
            // The rollback of the savepoint was dropped: the transaction goes on.
            tx.rollback().await.unwrap();
        }
        let rows: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&pool).await.unwrap();
        assert_eq!(rows, 0, "round {round}");
    }
}

#[tokio::test]
async fn a_query_that_takes_too_long_ends_with_an_error_and_its_connection_is_lent_on() {
    let dir = Dir::new();
    let limit = std::time::Duration::from_millis(50);
    let pool = one().statement_timeout(limit).connect(&dir.url("limit.db")).await.unwrap();
    // Without a limit, since a simple query may take long on a busy machine.
    let patient = pool.statement_timeout(None);
    for _ in 0..2 {
        let error = sqlx::query(ENDLESS).fetch_one(&pool).await.unwrap_err();
        let expired = millpond_sqlx::Expired::of(&error).unwrap();
        assert_eq!((expired.setting(), expired.limit()), ("statement_timeout", limit));
        assert!(expired.statement().starts_with("WITH RECURSIVE n(x)"), "{error}");
        assert!(expired.location().is_none(), "it could only be ours: {error}");
        let one: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&patient).await.unwrap();
        assert_eq!(one, 1);
    }
    // The limit applies to the BEGIN as well.
    let mut tx = pool.statement_timeout(limit * 60).begin().await.unwrap();
    assert!(sqlx::query(ENDLESS).fetch_one(&mut *tx).await.is_err());
    drop(tx);
    assert_eq!(pool.status().totals.created, 1);
}

#[tokio::test]
async fn a_dropped_query_is_interrupted_although_a_hook_set_a_progress_handler() {
    let dir = Dir::new();
    for url in [dir.url("one.db"), "sqlite::memory:".to_owned()] {
        let options = one().on_connect(|conn, _| {
            Box::pin(async move {
                conn.lock_handle().await?.set_progress_handler(100, || true);
                Ok(())
            })
        });
        let pool = options.connect(&url).await.unwrap();
        abandon_endless(&pool).await;
        let n: i64 = sqlx::query_scalar("SELECT 1").fetch_one(&pool).await.unwrap();
        assert_eq!((n, pool.status().totals.created), (1, 1));
    }
}

#[tokio::test]
async fn the_drivers_own_statements_at_a_close_are_not_interrupted() {
    let dir = Dir::new();
    let pool = one()
        .reset(ResetLevel::Replace)
        .connect_with(dir.options("x.db").optimize_on_close(true, None))
        .await
        .unwrap();
    let mut lease = pool.acquire().await.unwrap();
    raw_sql(
        "CREATE TABLE t (i INTEGER, v TEXT); CREATE INDEX by_i ON t (i); \
         WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000) \
         INSERT INTO t SELECT x % 100, x FROM n",
    )
    .execute(&mut *lease)
    .await
    .unwrap();
    sqlx::query("SELECT v FROM t WHERE i = 7").fetch_all(&mut *lease).await.unwrap();
    abandon_endless(&mut *lease).await;
    drop(lease);
    pool.close().await;
    let pool = one().connect(&dir.url("x.db")).await.unwrap();
    let statistics: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_stat1").fetch_one(&pool).await.unwrap();
    assert_eq!(statistics, 1);
}
