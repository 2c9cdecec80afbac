//! Verifies that the driver's thread is alive and that a connection has no open transaction,
//! rolling back if necessary.
//!
//! `begin_with("SELECT 1")` is queued at sqlx's worker behind everything sent before it, and sqlx
//! reads SQLite's own autocommit flag after it: `BeginFailed` means that no transaction is open.
//! (Reading the flag through `lock_handle` bypasses the queue: in a test it was wrong 127 times of
//! 137.)

use crate::error_class;
use millpond_sqlx::backend_api::TransactionState;
use sqlx::{AssertSqlSafe, Connection, Error, SqliteConnection};

/// How many nested transactions and savepoints are rolled back before the connection is given up.
const LEVELS_MAX: usize = 64;

/// Waits for the driver's thread, or detects that it has ended: once its lock is free it accepts no
/// commands, but a command sent while it panicked would never be answered.
pub(crate) async fn is_alive(conn: &mut SqliteConnection) -> Result<(), Error> {
    drop(conn.lock_handle().await?);
    conn.ping().await
}

/// Rolls back every transaction on the connection.
pub(crate) async fn verify(conn: &mut SqliteConnection) -> Result<(), Error> {
    for _ in 0..LEVELS_MAX {
        match probe(conn).await? {
            ProbeResult::Nothing if !conn.is_in_transaction() => return Ok(()),
            ProbeResult::Nothing | ProbeResult::RolledBack => {}
            ProbeResult::RollbackQueued => replace_missing_transactions(conn).await?,
        }
    }
    Err(Error::Protocol(format!(
        "the connection is still in a transaction after {LEVELS_MAX} rollbacks"
    )))
}

/// A pragma that SQLite accepts only outside a transaction. The temporary database ignores its
/// value, so it changes nothing, and nothing has to be undone if the query is dropped.
const ONLY_OUTSIDE: &str = "PRAGMA temp.synchronous = NORMAL";

/// Queries whether a transaction is open, after everything that was sent before.
pub(crate) async fn transaction_state(
    conn: &mut SqliteConnection,
) -> Result<TransactionState, Error> {
    match sqlx::raw_sql(ONLY_OUTSIDE).execute(conn).await {
        Ok(_) => Ok(TransactionState::None),
        Err(error) if error_class::is_inside_a_transaction(&error) => Ok(TransactionState::Open),
        Err(error) => Err(error),
    }
}

/// The name of the savepoint that marks a transaction.
const MARK: &str = "_millpond_mark";

/// Sets the savepoint that marks the open transaction.
pub(crate) async fn mark(conn: &mut SqliteConnection) -> Result<String, Error> {
    sqlx::raw_sql(AssertSqlSafe(format!("SAVEPOINT {MARK}"))).execute(conn).await?;
    Ok(MARK.to_owned())
}

/// Queries whether the marked transaction is still open.
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

/// The result of a probe, and what it has done.
enum ProbeResult {
    Nothing,
    RolledBack,
    RollbackQueued,
}

async fn probe(conn: &mut SqliteConnection) -> Result<ProbeResult, Error> {
    match conn.begin_with("SELECT 1").await {
        Err(Error::BeginFailed) => Ok(ProbeResult::Nothing),
        // A BEGIN was sent as plain SQL, and the probe has adopted its transaction.
        Ok(transaction) => transaction.rollback().await.map(|()| ProbeResult::RolledBack),
        // sqlx counts an open transaction, and the failed attempt has queued its rollback.
        Err(Error::InvalidSavePointStatement) => Ok(ProbeResult::RollbackQueued),
        Err(error) => Err(error),
    }
}

/// Opens an empty transaction with the same savepoints as the one that sqlx counts. If that was
/// ended by plain SQL, its rollback can never succeed, nor can a rollback to one of its savepoints.
async fn replace_missing_transactions(conn: &mut SqliteConnection) -> Result<(), Error> {
    // Waits for the queued rollback.
    conn.ping().await?;
    if conn.is_in_transaction() {
        let mut sql = "BEGIN".to_owned();
        for level in 1..LEVELS_MAX {
            sql += &format!("; SAVEPOINT _sqlx_savepoint_{level}");
        }
        match sqlx::raw_sql(AssertSqlSafe(sql)).execute(conn).await {
            // It fails if there still is a transaction, which is just as good.
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
    async fn a_begin_dropped_right_after_it_was_sent_is_rolled_back() {
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
