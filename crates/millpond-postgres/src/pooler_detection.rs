//! Detects transaction poolers, over which session state and answers would mix.
//!
//! A pooler does not identify itself. It is suspected if a session is older than its connection, or
//! lacks the settings that the driver requested when it was opened; both also happen with a pooler
//! that lends a server for a whole session. It is certain if two open connections have the same
//! server process, or if that of one connection changes, as it does while other clients take the
//! servers. A pooler that lends a server for each statement refuses transactions.

use crate::error_class::{PROTOCOL_VIOLATION, server_error};
use sqlx::{Error, PgConnection, Row, raw_sql};

/// How often two connections are compared. Other clients of the pooler may take the server that was
/// just released.
const ROUNDS: usize = 6;

/// The error if a pooler was found.
pub(crate) const POOLER_FOUND: &str = "the server is behind a pooler that lends a server for each \
    transaction (PgBouncer with pool_mode = transaction): two open connections have the same \
    server process, or that of one changes, so sessions and answers would be mixed with those of \
    other clients; set behind = \"pgbouncer\" (PgPoolOptions::behind), or connect to the server \
    itself; behind = \"unchecked\" skips this check";

/// The warning if a pooler is suspected.
pub(crate) const POOLER_SUSPECTED: &str = "the server seems to be behind a pooler: if that lends a \
    server for each transaction (pool_mode = transaction), set behind = \"pgbouncer\" \
    (PgPoolOptions::behind), or sessions and answers will be mixed with those of other clients; if \
    it lends one for a whole session, nothing needs to be done";

/// The hint if a pooler refuses a startup parameter.
pub(crate) const STARTUP_REFUSED: &str = "a pooler refused a startup parameter: if it lends a \
    server for each transaction (PgBouncer with pool_mode = transaction), set behind = \
    \"pgbouncer\" (PgPoolOptions::behind); if it lends one for a whole session, add the parameter \
    to its ignore_startup_parameters";

/// The error if a pooler refuses transactions.
const TRANSACTIONS_REFUSED: &str = "the server is behind a pooler that lends a server for each \
    statement (PgBouncer with pool_mode = statement), which refuses transactions: set pool_mode \
    = transaction there, and behind = \"pgbouncer\" (PgPoolOptions::behind), or connect to the \
    server itself";

/// Returns true if a pooler refused a parameter that the driver sends to every server.
pub(crate) fn refuses_startup(error: &Error) -> bool {
    server_error(error).is_some_and(|server_error| {
        server_error.code() == PROTOCOL_VIOLATION
            && server_error.message().contains("unsupported startup parameter")
    })
}

/// Returns an error if a pooler refuses transactions.
pub(crate) async fn check_transactions(conn: &mut PgConnection) -> Result<(), Error> {
    // The pooler accepts one that begins and ends in the same message.
    raw_sql("BEGIN").execute(&mut *conn).await.map_err(with_refused_transactions)?;
    raw_sql("ROLLBACK").execute(conn).await.map(drop)
}

/// Replaces the error of a pooler that refuses transactions.
fn with_refused_transactions(error: Error) -> Error {
    let is_refusal = server_error(&error).is_some_and(|server_error| {
        server_error.message().contains("not allowed in statement pooling mode")
    });
    if is_refusal { Error::Configuration(TRANSACTIONS_REFUSED.into()) } else { error }
}

/// Returns true if two open connections are found on one server process, or one of them on two.
pub(crate) async fn share_backend_processes(
    one: &mut PgConnection,
    other: &mut PgConnection,
) -> Result<bool, Error> {
    let mut before = None;
    for _ in 0..ROUNDS {
        let first = process(one, "SELECT pg_catalog.pg_backend_pid()").await?;
        if *before.get_or_insert(first) != first {
            return Ok(true);
        }
        // Within a transaction the server stays the same.
        let second = process(other, "BEGIN; SELECT pg_catalog.pg_backend_pid()")
            .await
            .map_err(with_refused_transactions)?;
        raw_sql("ROLLBACK").execute(&mut *other).await?;
        if first == second {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn process(conn: &mut PgConnection, sql: &'static str) -> Result<i32, Error> {
    raw_sql(sql).fetch_one(conn).await?.try_get(0)
}
