//! MySQL ends transactions by itself. Then the next statement is refused; it is not committed on
//! its own.

use crate::support::{one, rows, server};
use futures_util::StreamExt;
use millpond_mysql::{
    MySql, MySqlConnection, MySqlPool, Transaction, TransactionOutcome, transaction_lost,
};
use sqlx::{AssertSqlSafe, Error, Executor};

async fn insert(tx: &mut Transaction<'_, MySql>, i: i32) -> Result<(), Error> {
    sqlx::query("INSERT INTO t VALUES (?)").bind(i).execute(&mut **tx).await.map(drop)
}

#[track_caller]
fn outcome(error: &Error) -> TransactionOutcome {
    transaction_lost(error).unwrap_or_else(|| panic!("{error:?}")).outcome()
}

/// Builds two pools that share a table `t` and a table `locked` with two rows.
async fn two(name: &str) -> Option<(MySqlPool, MySqlPool)> {
    let server = server()?;
    let pool = server.table(name).await;
    pool.execute(
        "CREATE TABLE locked (i INT PRIMARY KEY, n INT); INSERT INTO locked VALUES (1, 0), (2, 0)",
    )
    .await
    .unwrap();
    let other = one().connect(&format!("mysql://root@{}/{name}", server.address())).await.unwrap();
    Some((pool, other))
}

async fn update<'e>(executor: impl Executor<'e, Database = MySql>, i: i32) -> Result<(), Error> {
    sqlx::query("UPDATE locked SET n = n + 1 WHERE i = ?").bind(i).execute(executor).await.map(drop)
}

/// Makes a transaction the victim of a deadlock, and returns its error.
async fn deadlock(tx: &mut Transaction<'_, MySql>, other: &MySqlPool) -> Error {
    // The transaction that has written less is the victim.
    let mut winner = other.begin().await.unwrap();
    for i in 100..120 {
        insert(&mut winner, i).await.unwrap();
    }
    update(&mut *winner, 2).await.unwrap();
    update(&mut **tx, 1).await.unwrap();
    let (mine, theirs) = tokio::join!(update(&mut **tx, 2), update(&mut *winner, 1));
    theirs.unwrap();
    winner.rollback().await.unwrap();
    let error = mine.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("40001"), "{error}");
    error
}

#[tokio::test]
async fn the_victim_of_a_deadlock_is_lost_with_its_savepoints() {
    let Some((pool, other)) = two("millpond_deadlock").await else { return };
    for round in 0..4 {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        if round < 2 {
            let first = deadlock(&mut tx, &other).await;
            let error = insert(&mut tx, 2).await.unwrap_err();
            assert_eq!(outcome(&error), TransactionOutcome::RolledBack);
            assert!(error.to_string().contains(&first.to_string()), "{error}");
        } else {
            let mut inner = tx.begin().await.unwrap();
            insert(&mut inner, 2).await.unwrap();
            let first = deadlock(&mut inner, &other).await;
            if round == 2 {
                drop(inner)
            } else {
                inner.commit().await.map_err(|error| outcome(&error)).unwrap_err();
            }
            let error = insert(&mut tx, 3).await.unwrap_err();
            assert_eq!(outcome(&error), TransactionOutcome::RolledBack);
            assert!(error.to_string().contains(&first.to_string()), "{error}");
        }
        if round % 2 == 0 {
            assert_eq!(outcome(&tx.commit().await.unwrap_err()), TransactionOutcome::RolledBack);
        } else {
            tx.rollback().await.unwrap();
        }
        assert_eq!(rows(&pool).await, [0; 0]);
    }
}

#[tokio::test]
async fn a_victim_that_does_nothing_more_cannot_commit_either() {
    let Some((pool, other)) = two("millpond_deadlock_commit").await else { return };
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    deadlock(&mut tx, &other).await;
    assert_eq!(outcome(&tx.commit().await.unwrap_err()), TransactionOutcome::RolledBack);
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [2]);
}

#[tokio::test]
async fn the_victim_of_a_deadlock_on_a_lease_is_lost_and_the_lease_goes_on() {
    let Some((pool, other)) = two("millpond_deadlock_lease").await else { return };
    let mut lease = pool.acquire().await.unwrap();
    let mut tx = lease.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    deadlock(&mut tx, &other).await;
    assert_eq!(outcome(&insert(&mut tx, 2).await.unwrap_err()), TransactionOutcome::RolledBack);
    assert_eq!(outcome(&tx.commit().await.unwrap_err()), TransactionOutcome::RolledBack);
    lease.execute("INSERT INTO t VALUES (3)").await.unwrap();
    drop(lease);
    assert_eq!(rows(&pool).await, [3]);
}

#[tokio::test]
async fn an_unread_deadlock_loses_a_transaction_in_sql_even_if_the_driver_is_used_next() {
    let Some((pool, other)) = two("millpond_deadlock_unread").await else { return };
    let mut lease = pool.acquire().await.unwrap();
    lease.execute("BEGIN").await.unwrap();
    lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
    update(&mut *lease, 1).await.unwrap();
    let mut winner = other.begin().await.unwrap();
    for i in 100..120 {
        insert(&mut winner, i).await.unwrap();
    }
    update(&mut *winner, 2).await.unwrap();
    // The first statement is answered while the second one waits for the winner.
    let mut steps = lease.fetch_many("SELECT 1; UPDATE locked SET n = 1 WHERE i = 2");
    assert!(steps.next().await.unwrap().unwrap().is_right());
    drop(steps);
    update(&mut *winner, 1).await.unwrap();
    winner.rollback().await.unwrap();
    let _driver: &mut MySqlConnection = &mut lease;
    let error = lease.execute("INSERT INTO t VALUES (2)").await.unwrap_err();
    assert_eq!(outcome(&error), TransactionOutcome::Unknown);
    assert!(lease.execute("COMMIT").await.is_err());
    drop(lease);
    assert_eq!(rows(&pool).await, [0; 0]);
}

#[tokio::test]
async fn a_lock_timeout_and_other_errors_leave_the_transaction_as_it_was() {
    let Some((pool, other)) = two("millpond_lock_wait").await else { return };
    let mut holder = other.begin().await.unwrap();
    update(&mut *holder, 1).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    tx.execute("SET innodb_lock_wait_timeout = 1").await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    let error = update(&mut *tx, 1).await.unwrap_err();
    assert!(error.to_string().contains("1205"), "{error}");
    tx.execute("SELECT nonsense").await.unwrap_err();
    tx.execute("INSERT INTO locked VALUES (2, 2)").await.unwrap_err();
    insert(&mut tx, 2).await.unwrap();
    tx.commit().await.unwrap();
    holder.rollback().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2]);
}

#[tokio::test]
async fn a_sql_mode_in_which_begin_is_a_block_keeps_nobody_from_beginning() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_oracle").await;
    // MySQL has no such mode.
    let _ = pool.execute("SET sql_mode = 'ORACLE'").await;
    for i in [1, 2] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, i).await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        insert(&mut inner, 99).await.unwrap();
        inner.rollback().await.unwrap();
        if i == 1 { tx.commit().await } else { tx.rollback().await }.unwrap();
    }
    sqlx::Acquire::begin(&pool).await.unwrap().commit().await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    sqlx::Acquire::begin(&mut lease).await.unwrap().commit().await.unwrap();
    drop(lease);
    assert_eq!(rows(&pool).await, [1]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn an_unseen_implicit_commit_in_a_dropped_savepoint_is_not_called_a_rollback() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_unseen_commit").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    let driver: &mut MySqlConnection = &mut inner;
    driver.execute("CREATE TABLE other (i INT)").await.unwrap();
    drop(inner);
    let error = insert(&mut tx, 2).await.unwrap_err();
    assert_eq!(outcome(&error), TransactionOutcome::Unknown, "{error}");
    drop(tx);
    assert_eq!(rows(&pool).await, [1]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn after_an_implicit_commit_a_rollback_is_an_error() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_ddl").await;
    for sql in [
        "CREATE TABLE IF NOT EXISTS other (i INT)",
        "ALTER TABLE other ADD COLUMN j INT",
        "TRUNCATE other",
        "DROP TABLE other",
        "START TRANSACTION",
        "LOCK TABLES t WRITE",
        "ANALYZE TABLE t",
    ] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        tx.execute(sql).await.unwrap();
        assert_eq!(
            outcome(&tx.rollback().await.unwrap_err()),
            TransactionOutcome::Committed,
            "{sql}"
        );
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 2).await.unwrap();
        tx.execute("CREATE TABLE IF NOT EXISTS other (i INT)").await.unwrap();
        let error = insert(&mut tx, 3).await.unwrap_err();
        assert_eq!(outcome(&error), TransactionOutcome::Committed, "{sql}");
        assert!(error.to_string().contains("CREATE"), "{error}");
        assert_eq!(
            outcome(&tx.commit().await.unwrap_err()),
            TransactionOutcome::Committed,
            "{sql}"
        );
        assert_eq!(rows(&pool).await, [1, 2], "{sql}");
        pool.execute("DELETE FROM t").await.unwrap();
    }
    // Everything that was executed is committed.
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    tx.execute("DROP TABLE other").await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 2).await.unwrap();
    tx.execute("CREATE TABLE other (i INT); INSERT INTO t VALUES (3)").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [1, 2, 3]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_statement_that_commits_implicitly_and_then_fails_has_committed() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_ddl_fails").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    tx.execute("CREATE TABLE t (i INT)").await.unwrap_err();
    assert_eq!(outcome(&insert(&mut tx, 2).await.unwrap_err()), TransactionOutcome::Committed);
    assert_eq!(outcome(&tx.rollback().await.unwrap_err()), TransactionOutcome::Committed);
    assert_eq!(rows(&pool).await, [1]);
}

#[tokio::test]
async fn statements_that_are_harmless_leave_the_transaction_as_it_was() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_harmless").await;
    let mut tx = pool.begin().await.unwrap();
    insert(&mut tx, 1).await.unwrap();
    for sql in [
        "SET @a = 1",
        "CREATE TEMPORARY TABLE tt (i INT)",
        "SHOW TABLES",
        "REPLACE INTO t VALUES (2)",
        "INSERT INTO tt VALUES (1); SELECT 1",
        "DO 1",
        "EXPLAIN SELECT 1",
    ] {
        tx.execute(sql).await.unwrap();
    }
    tx.rollback().await.unwrap();
    assert_eq!(rows(&pool).await, [0; 0]);
}

#[tokio::test]
async fn rollback_to_a_savepoint_is_recognised_after_a_comment_and_in_a_block() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_back_to_a_savepoint").await;
    for sql in [
        "ROLLBACK -- ;\n TO a",
        "ROLLBACK /* ; */ TO a",
        "BEGIN NOT ATOMIC SAVEPOINT b; INSERT INTO t VALUES (3); ROLLBACK TO a; END",
    ] {
        let mut tx = pool.begin().await.unwrap();
        insert(&mut tx, 1).await.unwrap();
        tx.execute("SAVEPOINT a").await.unwrap();
        insert(&mut tx, 2).await.unwrap();
        match tx.execute(sql).await {
            Ok(_) => {}
            // MySQL has no such blocks.
            Err(Error::Database(error)) if error.code().as_deref() == Some("42000") => {
                tx.execute("ROLLBACK TO a").await.map(drop).unwrap();
            }
            Err(error) => panic!("{sql}: {error}"),
        }
        insert(&mut tx, 4).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(rows(&pool).await, [1, 4], "{sql}");
        pool.execute("DELETE FROM t").await.unwrap();
    }
}

#[tokio::test]
async fn a_procedure_that_ends_the_transaction_loses_it_even_if_it_begins_another_one() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_ending_procedure").await;
    for (body, kept) in [("COMMIT", true), ("ROLLBACK", false), ("COMMIT; START TRANSACTION", true)]
    {
        let sql =
            format!("DROP PROCEDURE IF EXISTS ends; CREATE PROCEDURE ends() BEGIN {body}; END");
        pool.execute(AssertSqlSafe(sql)).await.unwrap();
        for end in [true, false] {
            let mut tx = pool.begin().await.unwrap();
            insert(&mut tx, 1).await.unwrap();
            tx.execute("CALL ends()").await.unwrap();
            assert_eq!(
                outcome(&insert(&mut tx, 2).await.unwrap_err()),
                TransactionOutcome::Unknown,
                "{body}"
            );
            let error = if end { tx.commit().await } else { tx.rollback().await }.unwrap_err();
            assert_eq!(outcome(&error), TransactionOutcome::Unknown, "{body}");
            assert_eq!(rows(&pool).await, vec![1; usize::from(kept)], "{body}");
            pool.execute("DELETE FROM t").await.unwrap();
        }
    }
    pool.execute(
        "DROP PROCEDURE ends; CREATE PROCEDURE ends() BEGIN INSERT INTO t VALUES (7); END",
    )
    .await
    .unwrap();
    let mut tx = pool.begin().await.unwrap();
    tx.execute("CALL ends()").await.unwrap();
    insert(&mut tx, 8).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&pool).await, [7, 8]);
    server.same_is_clean(&pool).await;
}

#[tokio::test]
async fn a_lost_transaction_in_sql_refuses_statements_until_it_is_ended_or_begun_again() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_lost_by_hand").await;
    for (begin, undone) in
        [("BEGIN", false), ("START TRANSACTION", false), ("SET autocommit = 0", true)]
    {
        for end in ["ROLLBACK", "COMMIT", "BEGIN"] {
            let mut lease = pool.acquire().await.unwrap();
            lease.execute(begin).await.unwrap();
            lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
            lease.execute("SELECT nonsense").await.unwrap_err();
            lease.execute("INSERT INTO t VALUES (2)").await.unwrap();
            if !undone {
                lease.execute("DROP TABLE IF EXISTS other").await.unwrap();
                let error = lease.execute("INSERT INTO t VALUES (3)").await.unwrap_err();
                assert_eq!(outcome(&error), TransactionOutcome::Committed);
                assert_eq!(lease.execute(end).await.is_err(), end != "BEGIN", "{begin} {end}");
            } else {
                lease.execute(end).await.unwrap();
            }
            drop(lease);
            let wanted: &[i32] = if undone && end == "ROLLBACK" { &[] } else { &[1, 2] };
            assert_eq!(rows(&pool).await, wanted, "{begin} {end}");
            pool.execute("DELETE FROM t").await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_function_that_sets_completion_type_chains_nothing_to_a_commit_in_sql() {
    let Some(server) = server() else { return };
    let pool = server.table("millpond_chained").await;
    pool.execute(
        "CREATE FUNCTION chains() RETURNS INT BEGIN SET completion_type = 1; RETURN 1; END",
    )
    .await
    .unwrap();
    for end in ["COMMIT", "commit work", "ROLLBACK", "SELECT 1; COMMIT"] {
        let mut lease = pool.acquire().await.unwrap();
        lease.execute("BEGIN").await.unwrap();
        lease.execute("INSERT INTO t VALUES (1)").await.unwrap();
        lease.execute("SELECT chains()").await.unwrap();
        lease.execute(end).await.unwrap();
        lease.execute("INSERT INTO t VALUES (2)").await.unwrap();
        drop(lease);
        let kept: &[i32] = if end == "ROLLBACK" { &[2] } else { &[1, 2] };
        assert_eq!(rows(&pool).await, kept, "{end}");
        pool.execute("DELETE FROM t").await.unwrap();
    }
    // A borrower can still enable chaining.
    let mut lease = pool.acquire().await.unwrap();
    lease.execute("SET completion_type = 'CHAIN'").await.unwrap();
    lease.execute("BEGIN").await.unwrap();
    lease.execute("COMMIT").await.unwrap();
    lease.execute("INSERT INTO t VALUES (3)").await.unwrap();
    lease.execute("ROLLBACK AND NO CHAIN").await.unwrap();
    let tx = lease.begin().await.unwrap();
    tx.commit().await.unwrap();
    lease.execute("INSERT INTO t VALUES (4)").await.unwrap();
    let error = lease.begin().await.unwrap_err().to_string();
    assert!(error.contains("begun in SQL"), "{error}");
    lease.execute("ROLLBACK").await.unwrap();
    drop(lease);
    assert_eq!(rows(&pool).await, [0; 0]);
    server.same_is_clean(&pool).await;
}
