//! Verifies that the driver's thread lives and that nothing is open on a connection, or makes it
//! so.
//!
//! `begin_with("SELECT 1")` stands in the queue of sqlx's worker behind everything sent before it,
//! and sqlx looks at SQLite's own autocommit flag after it: `BeginFailed` says that no transaction
//! is open. (Asking the flag through `lock_handle` jumps that queue: wrong 127 times of 137.)

use crate::error_class;
use millpond_sqlx::backend_api::TransactionState;
use sqlx::{AssertSqlSafe, Connection, Error, SqliteConnection};

/// How many transactions and savepoints left open one inside the other are undone before the
/// connection is given up.
const LEVELS_MAX: usize = 64;

/// Waits for the driver's thread, or finds that it is gone: it takes no command any more once its
/// lock is free, but what it was sent before, while it panicked, waits for ever.
pub(crate) async fn is_alive(conn: &mut SqliteConnection) -> Result<(), Error> {
    drop(conn.lock_handle().await?);
    conn.ping().await
}

/// Brings a connection out of every transaction; an error means that it could not be done.
pub(crate) async fn verify(conn: &mut SqliteConnection) -> Result<(), Error> {
    for _ in 0..LEVELS_MAX {
        match look(conn).await? {
            Found::Nothing if !conn.is_in_transaction() => return Ok(()),
            Found::Nothing | Found::RolledBack => {}
            Found::RollbackQueued => give_it_something_to_roll_back(conn).await?,
        }
    }
    Err(Error::Protocol(format!(
        "the connection is still in a transaction after {LEVELS_MAX} rollbacks"
    )))
}

/// What can be set only outside a transaction. In the database for temporary tables it is not
/// looked at, so nothing changes, and nothing is left to be undone if the question is cut off.
const ONLY_OUTSIDE: &str = "PRAGMA temp.synchronous = NORMAL";

/// Asks whether a transaction is open, in turn with everything that was sent before.
pub(crate) async fn transaction_state(
    conn: &mut SqliteConnection,
) -> Result<TransactionState, Error> {
    match sqlx::raw_sql(ONLY_OUTSIDE).execute(conn).await {
        Ok(_) => Ok(TransactionState::None),
        Err(error) if error_class::is_inside_a_transaction(&error) => Ok(TransactionState::Open),
        Err(error) => Err(error),
    }
}

/// The name of the savepoint by which a transaction is known again.
const MARK: &str = "_millpond_mark";

/// Sets the savepoint by which the open transaction is known again.
pub(crate) async fn mark(conn: &mut SqliteConnection) -> Result<String, Error> {
    sqlx::raw_sql(AssertSqlSafe(format!("SAVEPOINT {MARK}"))).execute(conn).await?;
    Ok(MARK.to_owned())
}

/// Asks whether the transaction that was marked is still open.
pub(crate) async fn is_marked(
    conn: &mut SqliteConnection,
    mark: &str,
) -> Result<TransactionState, Error> {
    match sqlx::raw_sql(AssertSqlSafe(format!("RELEASE {mark}"))).execute(conn).await {
        Ok(_) => Ok(TransactionState::Open),
        // There is no such savepoint.
        Err(Error::Database(_)) => Ok(TransactionState::None),
        Err(error) => Err(error),
    }
}

/// What a look at a connection found, and what has been done about it.
enum Found {
    Nothing,
    RolledBack,
    RollbackQueued,
}

async fn look(conn: &mut SqliteConnection) -> Result<Found, Error> {
    match conn.begin_with("SELECT 1").await {
        Err(Error::BeginFailed) => Ok(Found::Nothing),
        // Somebody wrote BEGIN, and this has adopted it.
        Ok(transaction) => transaction.rollback().await.map(|()| Found::RolledBack),
        // sqlx knows of an open transaction, and the failed attempt has queued its rollback.
        Err(Error::InvalidSavePointStatement) => Ok(Found::RollbackQueued),
        Err(error) => Err(error),
    }
}

/// If the transaction that sqlx knows of was ended behind its back, its rollback fails for ever,
/// and so does the one to a savepoint in it, by the name that sqlx gives it. So it gets new ones.
async fn give_it_something_to_roll_back(conn: &mut SqliteConnection) -> Result<(), Error> {
    // Behind the queued rollback.
    conn.ping().await?;
    if conn.is_in_transaction() {
        let mut sql = "BEGIN".to_owned();
        for level in 1..LEVELS_MAX {
            sql += &format!("; SAVEPOINT _sqlx_savepoint_{level}");
        }
        match sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await {
            // It fails if there still is a transaction, which is as good.
            Ok(_) | Err(Error::Database(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection, raw_sql};

    async fn open() -> SqliteConnection {
        SqliteConnection::connect("sqlite::memory:").await.unwrap()
    }

    async fn begins_and_commits(conn: &mut SqliteConnection) {
        assert!(!conn.is_in_transaction());
        conn.begin_with("BEGIN IMMEDIATE").await.unwrap().commit().await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_outside_a_transaction_passes() {
        let mut conn = open().await;
        verify(&mut conn).await.unwrap();
        begins_and_commits(&mut conn).await;
    }

    #[tokio::test]
    async fn a_written_begin_is_rolled_back() {
        let mut conn = open().await;
        raw_sql("CREATE TABLE t (i); BEGIN; INSERT INTO t VALUES (1)")
            .execute(&mut conn)
            .await
            .unwrap();
        verify(&mut conn).await.unwrap();
        let left: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM t").fetch_one(&mut conn).await.unwrap();
        assert_eq!(left, 0);
        begins_and_commits(&mut conn).await;
    }

    #[tokio::test]
    async fn forgotten_transactions_and_savepoints_are_rolled_back() {
        let mut conn = open().await;
        for _ in 0..3 {
            std::mem::forget(conn.begin().await.unwrap());
        }
        verify(&mut conn).await.unwrap();
        begins_and_commits(&mut conn).await;
    }

    #[tokio::test]
    async fn a_transaction_ended_behind_the_drivers_back_is_repaired() {
        let mut conn = open().await;
        for savepoints in 0..4 {
            for _ in 0..=savepoints {
                std::mem::forget(conn.begin().await.unwrap());
            }
            raw_sql("ROLLBACK").execute(&mut conn).await.unwrap();
            assert!(conn.is_in_transaction(), "sqlx still believes in it");
            verify(&mut conn).await.unwrap();
            begins_and_commits(&mut conn).await;
        }
    }

    #[tokio::test]
    async fn a_begin_that_was_cut_off_right_after_it_was_sent_is_not_overlooked() {
        let mut conn = open().await;
        for _ in 0..200 {
            // Sent by the first poll, and answered later.
            let mut begin = Box::pin(raw_sql("BEGIN").execute(&mut conn));
            std::future::poll_fn(|cx| std::task::Poll::Ready(begin.as_mut().poll(cx).is_ready()))
                .await;
            drop(begin);
            verify(&mut conn).await.unwrap();
            begins_and_commits(&mut conn).await;
        }
    }
}
