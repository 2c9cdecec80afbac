//! Verifies that a connection is in sync and that nothing is open on it, or makes it so.
//!
//! One round trip: what is open is undone, and a nonce must come back, so that the answer is the
//! one to this question. `AND NO CHAIN NO RELEASE` because a plain ROLLBACK begins a new
//! transaction under `completion_type = CHAIN`. Nor does a rollback turn autocommit on again,
//! without which the next SELECT would begin a transaction that nobody ends, nor give back the
//! locks of LOCK TABLES.
//!
//! A ping is no proof: after one that was cut off, sqlx takes every answer for the one to the
//! question before.
//!
//! A connection is verified after each transaction. Measured in one loop on MariaDB with one
//! connection: BEGIN, SELECT and COMMIT take 198 us, and 80 us where nothing is reset; 16 users of
//! 10 connections get half as many done.

use crate::error_class::{is_fatal, server_error};
use crate::server_info::TAKES_WRITES;
use millpond_sqlx::backend_api::{
    DRAIN_ROUNDS_MAX, forget_transactions, nonce, not_drained, out_of_sync, read_late_errors,
};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Connection, Error, MySql, MySqlConnection, Row, raw_sql};
use std::time::Duration;
use tokio::time::timeout;

/// How long the rest of a statement is read over for its borrower.
const DRAIN_MAX: Duration = Duration::from_secs(10);

const TOO_MANY_ROWS: &str = "the rows of a statement were dropped before the last one came, and \
    the others did not come within 10 s: drop the connection and acquire another one; what was \
    open on it is rolled back";

/// The first statement on a new connection.
pub(crate) struct SessionInfo {
    /// The database in which it begins, as the server spells it.
    pub(crate) database: Option<String>,
    /// See [`SESSION`].
    pub(crate) session: u64,
    pub(crate) takes_writes: bool,
}

/// The number of a session that no other one has, on whatever server: below, the number that KILL
/// wants; above, which server gave it.
pub(crate) const SESSION: &str = "CRC32(CONCAT(@@hostname, ':', @@port)) << 32 | CONNECTION_ID()";

/// Verifies a new connection, since a server can be configured to open sessions without autocommit,
/// and asks where it leads.
pub(crate) async fn query_session(conn: &mut MySqlConnection) -> Result<SessionInfo, Error> {
    let row = ask(conn, &format!(", {SESSION}, {TAKES_WRITES}")).await?;
    Ok(SessionInfo {
        database: row.try_get(1)?,
        session: row.try_get(2)?,
        takes_writes: row.try_get(3)?,
    })
}

/// Brings a connection out of every transaction, and tells in which database it is; an error means
/// that it could not be done.
pub(crate) async fn verify(conn: &mut MySqlConnection) -> Result<Option<String>, Error> {
    forget_transactions::<MySql>(conn);
    for _ in 0..DRAIN_ROUNDS_MAX {
        match ask(conn, "").await {
            // The answer to something older, of which nobody waits for the answer. A proof that was
            // refused itself is refused again.
            Err(error) if is_late(&error) => {}
            result => return result?.try_get(1),
        }
    }
    Err(not_drained())
}

/// Reads over the rest of what was dropped between two rows, for a limited time. The first error
/// among it, since nobody else will see it.
pub(crate) async fn drain(conn: &mut MySqlConnection) -> Result<Option<Error>, Error> {
    let reading = read_late_errors::<MySql>(conn, is_late);
    timeout(DRAIN_MAX, reading)
        .await
        .unwrap_or_else(|_| Err(Error::Protocol(TOO_MANY_ROWS.to_owned())))
}

/// Leads a connection back to the database of its pool. Statements that were prepared elsewhere
/// mean the tables there, and sqlx would go on using them, so it has to forget them.
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

/// Releases the session's locks of GET_LOCK: a migrator that failed has left its own. A server that
/// is too old for it (before MySQL 5.7 and MariaDB 10.5) refuses, and the connection is closed.
pub(crate) async fn release_locks(conn: &mut MySqlConnection) -> Result<(), Error> {
    raw_sql("DO RELEASE_ALL_LOCKS()").execute(conn).await.map(drop)
}

/// Rolls back, and asks for a nonce, the database and more.
async fn ask(conn: &mut MySqlConnection, more: &str) -> Result<MySqlRow, Error> {
    let nonce = nonce();
    let sql = format!(
        "ROLLBACK AND NO CHAIN NO RELEASE; UNLOCK TABLES; SET autocommit = 1, completion_type = 0; \
         SELECT '{nonce}', DATABASE(){more}"
    );
    let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(conn).await?;
    let [row] = <[MySqlRow; 1]>::try_from(rows).map_err(|_| out_of_sync())?;
    let echo: String = row.try_get(0)?;
    if echo == nonce { Ok(row) } else { Err(out_of_sync()) }
}

/// Whether it ended a statement and nothing more.
fn is_late(error: &Error) -> bool {
    server_error(error).is_some_and(|server_error| !is_fatal(server_error.number()))
}
