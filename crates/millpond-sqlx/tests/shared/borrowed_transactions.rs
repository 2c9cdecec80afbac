//! A transaction that is begun on a lease is tracked as one of the pool's is, and the lease goes on
//! after it.

use crate::backend::Db;
use crate::support::{one, rows, server};
use millpond_sqlx::{Transaction, TransactionOutcome, transaction_lost};
use millpond_testkit::{ChaosProxy, Direction, Flow, poll_n};
use sqlx::{Acquire, AssertSqlSafe, Connection, Error, Executor};

async fn insert<'e>(to: impl Executor<'e, Database = Db>, i: i32) -> Result<(), Error> {
    to.execute(AssertSqlSafe(format!("INSERT INTO t VALUES ({i})"))).await.map(drop)
}

#[tokio::test]
async fn a_transaction_on_a_lease_that_was_ended_in_sql_is_lost_and_says_so() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_lease_lost").await;
    let mut lease = pool.acquire().await.unwrap();
    // Uses sqlx's traits, which have a `begin` too: it must not be the one that is found.
    lease.acquire().await.unwrap().ping().await.unwrap();
    for (n, sql) in (0..).zip(["COMMIT", "ROLLBACK", "COMMIT; BEGIN"]) {
        let mut tx: Transaction<'_, Db> = lease.begin().await.unwrap();
        insert(&mut *tx, 10 * n).await.unwrap();
        tx.execute(sql).await.unwrap();
        let error = insert(&mut *tx, 99).await.unwrap_err();
        assert!(transaction_lost(&error).is_some(), "{sql}: {error}");
        let ended = if sql == "ROLLBACK" { tx.commit().await } else { tx.rollback().await };
        assert!(transaction_lost(&ended.unwrap_err()).is_some(), "{sql}");
        insert(&mut *lease, 10 * n + 1).await.unwrap();
    }
    drop(lease);
    assert_eq!(rows(&pool).await, [0, 1, 11, 20, 21]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_transaction_around_a_function_is_kept_whole_or_not_at_all() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_around").await;
    let mut lease = pool.acquire().await.unwrap();
    let ended = lease.transaction(|tx| {
        Box::pin(async move {
            insert(&mut **tx, 90).await?;
            tx.execute("ROLLBACK").await?;
            // Its error goes unnoticed.
            Ok::<bool, Error>(insert(&mut **tx, 91).await.is_ok())
        })
    });
    assert!(transaction_lost(&ended.await.unwrap_err()).is_some());
    let whole = lease.transaction(|tx| {
        Box::pin(async move {
            insert(&mut **tx, 1).await?;
            let undone = tx.transaction(|inner| {
                Box::pin(async move {
                    insert(&mut **inner, 92).await?;
                    Err::<(), _>(Error::RowNotFound)
                })
            });
            assert!(matches!(undone.await, Err(Error::RowNotFound)));
            insert(&mut **tx, 2).await
        })
    });
    whole.await.unwrap();
    drop(lease);
    assert_eq!(rows(&pool).await, [1, 2]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_lease_goes_on_after_each_end_of_a_transaction_on_it() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_lease_goes_on").await;
    let mut lease = pool.acquire().await.unwrap();
    for i in 0..2 {
        let mut tx = lease.begin_with("START TRANSACTION").await.unwrap();
        insert(&mut *tx, 10 * i).await.unwrap();
        let mut inner = (*tx).begin().await.unwrap();
        insert(&mut *inner, 99).await.unwrap();
        inner.rollback().await.unwrap();
        tx.commit().await.unwrap();
        let mut tx = lease.begin().await.unwrap();
        insert(&mut *tx, 99).await.unwrap();
        drop(tx);
        insert(&mut *lease, 10 * i + 1).await.unwrap();
        let mut tx = lease.begin().await.unwrap();
        insert(&mut *tx, 99).await.unwrap();
        tx.rollback().await.unwrap();
        // Dropped when it was lost.
        let mut tx = lease.begin().await.unwrap();
        tx.execute("ROLLBACK").await.unwrap();
        let error = insert(&mut *tx, 99).await.unwrap_err();
        let lost = transaction_lost(&error).unwrap();
        assert_eq!(lost.outcome(), TransactionOutcome::RolledBack);
        drop(tx);
        insert(&mut *lease, 10 * i + 2).await.unwrap();
        assert!(lease.begin_with("SELECT 1").await.is_err());
        insert(&mut *lease, 10 * i + 3).await.unwrap();
    }
    drop(lease);
    assert_eq!(rows(&pool).await, [0, 1, 2, 3, 10, 11, 12, 13]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn what_follows_a_begin_that_was_cut_off_is_an_error_or_is_kept() {
    let Some(server) = server() else { return };
    let url = server.scratch("millpond_lease_begin_cut").await;
    let proxy = ChaosProxy::start(server.address()).await.unwrap();
    for direction in Direction::BOTH {
        proxy.set(direction, Flow::free().in_pieces_of(4));
    }
    let pool = one().connect(&proxy.reroute(&url)).await.unwrap();
    pool.execute("CREATE TABLE t (i INT)").await.unwrap();
    for is_sqlxs in [false, true] {
        let (mut written, mut cuts) = (Vec::new(), 0);
        loop {
            let mut lease = pool.acquire().await.unwrap();
            let has_begun = match is_sqlxs {
                false => poll_n(lease.begin(), cuts).await.is_some(),
                true => poll_n(Acquire::begin(&mut *lease), cuts).await.is_some(),
            };
            if has_begun {
                break;
            }
            let i = i32::try_from(cuts).unwrap();
            if insert(&mut *lease, i).await.is_ok() {
                written.push(i);
            }
            cuts += 1;
        }
        assert!(cuts > 2, "{cuts} cuts: the messages came in one piece");
        assert_eq!(rows(&pool).await, written, "{is_sqlxs}");
        pool.execute("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn a_begin_in_a_transaction_that_was_begun_in_sql_is_refused_and_costs_it_nothing() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_lease_in_sql").await;
    let mut lease = pool.acquire().await.unwrap();
    for (n, begin) in (0..).zip(["BEGIN", "START TRANSACTION", "BEGIN; SELECT 1"]) {
        lease.execute(begin).await.unwrap();
        insert(&mut *lease, 10 * n).await.unwrap();
        let error = lease.begin().await.unwrap_err().to_string();
        assert!(error.contains("begun in SQL"), "{error}");
        let error = lease.begin_with("START TRANSACTION").await.unwrap_err().to_string();
        assert!(error.contains("begun in SQL"), "{error}");
        let error = Acquire::begin(&mut *lease).await.err().unwrap().to_string();
        assert!(error.contains("begun in SQL"), "{error}");
        insert(&mut *lease, 10 * n + 1).await.unwrap();
        lease.execute("COMMIT").await.unwrap();
        lease.begin().await.unwrap().commit().await.unwrap();
        let tx = Acquire::begin(&mut *lease).await.unwrap();
        tx.commit().await.unwrap();
    }
    drop(lease);
    assert_eq!(rows(&pool).await, [0, 1, 10, 11, 20, 21]);
    server.same_is_clean(&pool).await;
}
