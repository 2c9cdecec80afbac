//! Verifies that a connection is in sync and has no open transaction, rolling back if necessary.
//!
//! In one round trip, an open transaction is rolled back and a nonce is queried, which identifies
//! the answer. `AND NO CHAIN NO RELEASE` because a plain ROLLBACK begins a new transaction under
//! `completion_type = CHAIN`. A rollback neither enables autocommit, without which the next SELECT
//! would begin a transaction, nor releases LOCK TABLES, so both are done as well.
//!
//! A ping does not verify: after a dropped one, sqlx misreads every answer.
//!
//! A connection is verified after each transaction. Measured in one loop on MariaDB with one
//! connection: BEGIN, SELECT and COMMIT take 198 us, and 80 us without a reset; with 16 tasks on 10
//! connections the throughput is halved.

use crate::error_class::{is_fatal, is_savepoint_gone, server_error};
use crate::server_info::TAKES_WRITES;
use millpond_core::catch_panic;
use millpond_sqlx::backend_api::{
    DRAIN_ROUNDS_MAX, forget_transactions, nonce, not_drained, out_of_sync, read_late_errors,
};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection, Error, MySql, MySqlConnection, Row, raw_sql};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// What the first statement on a new connection returns.
pub(crate) struct SessionInfo {
    /// The session's database, as the server spells it.
    pub(crate) database: Option<String>,
    /// See [`SESSION`].
    pub(crate) session: u64,
    pub(crate) takes_writes: bool,
}

/// A number that identifies a session across servers: the lower half is the id for KILL, the upper
/// half identifies the server.
pub(crate) const SESSION: &str = "CRC32(CONCAT(@@hostname, ':', @@port)) << 32 | CONNECTION_ID()";

/// Verifies a new connection, since a server can be configured to open sessions without autocommit,
/// and queries its session.
pub(crate) async fn query_session(conn: &mut MySqlConnection) -> Result<SessionInfo, Error> {
    let row = ask(conn, &format!(", {SESSION}, {TAKES_WRITES}")).await?;
    Ok(SessionInfo {
        database: row.try_get(1)?,
        session: row.try_get(2)?,
        takes_writes: row.try_get(3)?,
    })
}

/// Rolls back every transaction on the connection. Returns its current database, and the errors of
/// dropped statements, which nothing else reports.
pub(crate) async fn verify(
    conn: &mut MySqlConnection,
) -> Result<(Option<String>, Vec<Error>), Error> {
    forget_transactions::<MySql>(conn);
    let mut late_errors = Vec::new();
    for _ in 0..DRAIN_ROUNDS_MAX {
        match ask(conn, "").await {
            // If it was the verification's own, it recurs.
            Err(error) if is_late(&error) => late_errors.push(error),
            result => return Ok((result?.try_get(1)?, late_errors)),
        }
    }
    Err(not_drained())
}

/// Checks that the next answer belongs to the next question, without changing the session. Returns
/// the error of a savepoint that the driver has not rolled back, if there is one.
pub(crate) async fn check_sync(conn: &mut MySqlConnection) -> Result<Option<Error>, Error> {
    let mut savepoint_gone = None;
    for _ in 0..DRAIN_ROUNDS_MAX {
        let nonce = nonce();
        match without_panic(echo(conn, format!("SELECT '{nonce}'"), &nonce)).await {
            Err(error) if is_savepoint_gone(&error) => savepoint_gone = Some(error),
            Err(error) if is_late(&error) => {}
            result => return result.map(|_| savepoint_gone),
        }
    }
    Err(not_drained())
}

/// Turns a panic of the driver at an answer to another question into an error.
async fn without_panic<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        catch_panic(|| work.as_mut().poll(cx))
            .unwrap_or_else(|_panic| Poll::Ready(Err(out_of_sync())))
    })
    .await
}

/// Drains the rest of a statement that was dropped between two rows. Returns its errors, which
/// nothing else reports.
pub(crate) async fn drain(conn: &mut MySqlConnection) -> Result<Vec<Error>, Error> {
    read_late_errors::<MySql>(conn, is_late).await
}

/// Selects the pool's database again and drops statements prepared elsewhere.
pub(crate) async fn restore_database(
    conn: &mut MySqlConnection,
    current: Option<&str>,
    initial: Option<&str>,
) -> Result<(), Error> {
    if current == initial {
        return Ok(());
    }
    conn.clear_cached_statements().await?;
    let Some(initial) = initial else { return Ok(()) };
    let sql = format!("USE `{}`", initial.replace('`', "``"));
    raw_sql(AssertSqlSafe(sql)).execute(conn).await.map(drop)
}

/// Releases the session's GET_LOCK locks, such as that of a failed migration. Servers before MySQL
/// 5.7 and MariaDB 10.5 do not support it, and the connection is closed.
pub(crate) async fn release_locks(conn: &mut MySqlConnection) -> Result<(), Error> {
    raw_sql("DO RELEASE_ALL_LOCKS()").execute(conn).await.map(drop)
}

/// Rolls back, and queries a nonce, the database and `more`.
async fn ask(conn: &mut MySqlConnection, more: &str) -> Result<MySqlRow, Error> {
    let nonce = nonce();
    let sql = format!(
        "ROLLBACK AND NO CHAIN NO RELEASE; UNLOCK TABLES; SET autocommit = 1, completion_type = 0; \
         SELECT '{nonce}', DATABASE(){more}"
    );
    echo(conn, sql, &nonce).await
}

/// Executes `sql`, and returns its one row, which begins with the nonce.
async fn echo(conn: &mut MySqlConnection, sql: String, nonce: &str) -> Result<MySqlRow, Error> {
    let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(conn).await?;
    let [row] = <[MySqlRow; 1]>::try_from(rows).map_err(|_| out_of_sync())?;
    let echo: String = row.try_get(0)?;
    if echo == nonce { Ok(row) } else { Err(out_of_sync()) }
}

/// Returns true if an error only ended its statement.
fn is_late(error: &Error) -> bool {
    server_error(error).is_some_and(|server_error| !is_fatal(server_error.number()))
}
