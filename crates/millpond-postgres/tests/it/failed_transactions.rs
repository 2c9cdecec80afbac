//! PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK and without an error;
//! `commit` returns an error.

use crate::support::{rows, server};
use futures_util::TryStreamExt;
use millpond_postgres::{Postgres, Transaction, TransactionOutcome, transaction_lost};
use millpond_testkit::poll_n;
use sqlx::{Acquire, Error, Executor};

/// A query that fails at its last row.
const FAILS_LATE: &str = "SELECT 1 / (100000 - x) FROM generate_series(1, 100000) AS x";

async fn insert(tx: &mut Transaction<'_, Postgres>, i: i32) -> Result<(), Error> {
    sqlx::query("INSERT INTO t VALUES ($1)").bind(i).execute(&mut **tx).await.map(drop)
}

#[track_caller]
fn assert_failed(error: &Error, cause: &str) {
    let lost = transaction_lost(error).unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(lost.outcome(), TransactionOutcome::RolledBack);
    assert!(lost.to_string().contains(cause), "{lost}");
}

#[tokio::test]
async fn a_commit_after_an_error_is_an_error_that_names_the_first_one() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_failed_commit").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    tx.execute("SELECT 1 / 0").await.unwrap_err();
    let error = insert(&mut tx, 2).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("25P02"));
    assert_failed(&tx.commit().await.unwrap_err(), "division by zero");
    assert!(pool.try_acquire().is_some(), "nothing is open any more");
    assert_eq!(rows(&pool).await, [0; 0]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_prepare_transaction_that_is_refused_has_rolled_back() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_prepare_refused").await;
    for commits in [false, true] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        // The server allows none.
        let first = tx.execute("PREPARE TRANSACTION 'millpond'").await.unwrap_err().to_string();
        assert_failed(&insert(&mut tx, 2).await.unwrap_err(), &first);
        if commits {
            assert_failed(&tx.commit().await.unwrap_err(), &first);
        } else {
            tx.rollback().await.unwrap();
        }
        assert_eq!(rows(&pool).await, [0; 0]);
    }
}

#[tokio::test]
async fn the_commit_of_a_failed_transaction_on_a_lease_is_an_error_too() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_failed_on_lease").await;
    let mut lease = pool.acquire().await.unwrap();
    let mut tx = lease.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    tx.execute("SELECT 1 / 0").await.unwrap_err();
    assert_failed(&tx.commit().await.unwrap_err(), "division by zero");
    // What may have failed while it began leaves nothing in the way.
    lease.begin_with("BEGIN; SELECT 1 / 0").await.unwrap_err();
    let mut tx = lease.begin().await.unwrap();
    insert(&mut tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    drop(lease);
    assert_eq!(rows(&pool).await, [2]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn an_unread_error_is_reported_by_the_commit() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_unread").await;
    for round in 0..6 {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        match round % 3 {
            0 => assert!(
                poll_n(tx.execute("SELECT pg_sleep(0.5), 1 / (random() * 0)::int"), 1)
                    .await
                    .is_none()
            ),
            1 => {
                assert!(sqlx::query(FAILS_LATE).fetch(&mut *tx).try_next().await.unwrap().is_some())
            }
            _ => {
                sqlx::query_as::<_, (String,)>(FAILS_LATE).fetch_all(&mut *tx).await.unwrap_err();
            }
        }
        if round < 3 {
            let error = insert(&mut tx, 2).await.unwrap_err();
            assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("25P02"));
        }
        assert_failed(&tx.commit().await.unwrap_err(), "division by zero");
        assert_eq!(rows(&pool).await, [0; 0]);
    }
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn rolling_back_to_a_savepoint_makes_the_transaction_usable_again() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_heals").await;
    for round in 0..5 {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        if round == 3 {
            tx.execute("SAVEPOINT a").await.unwrap();
            tx.execute("SELECT 1 / 0").await.unwrap_err();
            tx.execute("ROLLBACK TO a").await.unwrap();
        } else {
            let mut inner = tx.begin().await.unwrap();
            insert(&mut inner, 2).await.unwrap();
            if round == 4 {
                assert!(
                    poll_n(inner.execute("SELECT pg_sleep(0.5), 1 / (random() * 0)::int"), 1)
                        .await
                        .is_none()
                );
            } else {
                inner.execute("SELECT 1 / 0").await.unwrap_err();
            }
            match round {
                0 => drop(inner),
                1 => assert_failed(&inner.commit().await.unwrap_err(), "division by zero"),
                _ => inner.rollback().await.unwrap(),
            }
        }
        insert(&mut tx, 3).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rows(&pool).await, [1, 3]);
        pool.execute("DELETE FROM t").await.unwrap();
    }
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn an_error_that_was_rolled_back_is_not_the_cause_of_a_later_failure() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_later").await;
    for is_dropped in [true, false] {
        let mut tx = pool.begin().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        inner.execute("SELECT 1 / 0").await.unwrap_err();
        if is_dropped {
            drop(inner)
        } else {
            inner.rollback().await.unwrap()
        }
        tx.execute("SELECT nonsense").await.unwrap_err();
        assert_failed(&tx.commit().await.unwrap_err(), "nonsense");
    }
}

#[tokio::test]
async fn a_commit_in_sql_of_a_failed_transaction_is_an_error_too() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_failed_by_hand").await;
    let mut lease = pool.acquire().await.unwrap();
    for (begin, commit) in
        [("BEGIN", "COMMIT"), ("START TRANSACTION", "END"), ("BEGIN; SELECT 1 / 0", "COMMIT")]
    {
        let _ = lease.execute(begin).await;
        let _ = lease.execute("INSERT INTO t VALUES (1)").await;
        lease.execute("SELECT 1 / 0").await.unwrap_err();
        assert_failed(&lease.execute(commit).await.unwrap_err(), "");
        lease.execute("INSERT INTO t VALUES (2)").await.unwrap();
        lease.execute("BEGIN").await.unwrap();
        lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
        lease.execute("SELECT 1 / 0").await.unwrap_err();
        lease.execute("ROLLBACK").await.unwrap();
    }
    drop(lease);
    assert_eq!(rows(&pool).await, [2, 2, 2]);
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 3).await.unwrap();
    tx.execute("SELECT 1 / 0").await.unwrap_err();
    assert_failed(&tx.execute("COMMIT").await.unwrap_err(), "division by zero");
    tx.commit().await.unwrap_err();
    assert_eq!(rows(&pool).await, [2, 2, 2]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_script_that_commits_a_failed_transaction_is_an_error_and_one_that_rolls_back_is_not() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_failed_by_script").await;
    for script in
        ["COMMIT; SELECT 1", "END; BEGIN", "/* /* */ */ COMMIT", "COMMIT; INSERT INTO t VALUES (2)"]
    {
        let mut lease = pool.acquire().await.unwrap();
        lease.execute("BEGIN").await.unwrap();
        lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
        lease.execute("SELECT 1 / 0").await.unwrap_err();
        assert_failed(&lease.execute(script).await.unwrap_err(), "division by zero");
        lease.execute("ROLLBACK; BEGIN").await.unwrap();
        lease.execute("ROLLBACK").await.unwrap();
        drop(lease);
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        tx.execute("SELECT 1 / 0").await.unwrap_err();
        assert_failed(&tx.execute(script).await.unwrap_err(), "division by zero");
        drop(tx);
    }
    assert_eq!(rows(&pool).await, [0; 0]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_failure_on_the_drivers_own_connection_is_reported_by_the_commit() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_failed_raw").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    (**tx).execute("SELECT 1 / 0").await.unwrap_err();
    assert_failed(&tx.commit().await.unwrap_err(), "driver's own connection");
    assert_eq!(rows(&pool).await, [0; 0]);
}

#[tokio::test]
async fn a_savepoint_that_cannot_begin_in_a_failed_transaction_leaves_it_failed() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_failed_savepoint").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    tx.execute("SELECT 1 / 0").await.unwrap_err();
    assert_failed(&tx.begin().await.unwrap_err(), "division by zero");
    insert(&mut tx, 2).await.unwrap_err();
    assert_failed(&tx.commit().await.unwrap_err(), "division by zero");
    assert_eq!(rows(&pool).await, [0; 0]);

    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 3).await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    inner.execute("SELECT 1 / 0").await.unwrap_err();
    inner.begin().await.unwrap_err();
    inner.rollback().await.unwrap();
    insert(&mut tx, 4).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [3, 4]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_transaction_that_the_driver_rolled_back_for_its_own_savepoint_is_lost() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_forgotten").await;
    for is_cut in [true, false] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        insert(&mut inner, 2).await.unwrap();
        if is_cut {
            let _ = poll_n(Acquire::begin(&mut inner), 1).await;
        } else {
            inner.execute("SELECT 1 / 0").await.unwrap_err();
            Acquire::begin(&mut inner).await.map(drop).unwrap_err();
        }
        let _ = insert(&mut inner, 3).await;
        let inner = inner.commit().await;
        let _ = insert(&mut tx, 4).await;
        let outer = tx.commit().await;
        let left = rows(&pool).await;
        assert!(
            if inner.is_err() || outer.is_err() { left.is_empty() } else { left == [1, 2, 3, 4] },
            "{left:?}"
        );
        pool.execute("DELETE FROM t").await.unwrap();
    }
    server.same_is_clean(&pool).await;
}
