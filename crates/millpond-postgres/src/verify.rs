//! Verifies that a connection is in sync and has no open transaction, rolling back if necessary.
//!
//! One simple query, in one round trip, returns a nonce, which identifies the answer, and whether
//! `now()`, which is constant within a transaction, is the time of this statement. If it is not, a
//! transaction is open; the error 25P02 means that one is open and has failed. Pending errors of
//! dropped statements arrive first and are drained.

use crate::error_class::{is_fatal, server_error};
use millpond_sqlx::backend_api::{
    DRAIN_ROUNDS_MAX, TransactionState, forget_transactions, nonce, not_drained, out_of_sync,
};
use sqlx::{AssertSqlSafe, Connection, Error, PgConnection, Postgres, Row, raw_sql};

/// Resets a session to its initial state, except for prepared statements. DISCARD ALL would also
/// deallocate those that sqlx has cached.
const RESET_SESSION: &str = "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; CLOSE ALL; \
    UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; \
    SELECT pg_catalog.quote_ident(name) AS prepared FROM pg_catalog.pg_prepared_statements \
    WHERE from_sql";

/// Rolls back every transaction on the connection, with `rollback`. Returns the errors of
/// dropped statements.
pub(crate) async fn verify(
    conn: &mut PgConnection,
    rollback: &'static str,
) -> Result<Vec<Error>, Error> {
    let mut late_errors = Vec::new();
    for _ in 0..DRAIN_ROUNDS_MAX {
        match probe(conn, "").await? {
            ProbeResult::Nothing { .. } if !conn.is_in_transaction() => return Ok(late_errors),
            ProbeResult::Nothing { .. } => forget_transactions::<Postgres>(conn),
            ProbeResult::Transaction { .. } | ProbeResult::Failed => {
                match raw_sql(rollback).execute(&mut *conn).await {
                    Err(error) if is_late(&error) => late_errors.push(error),
                    result => _ = result?,
                }
            }
            ProbeResult::LateError(error) => late_errors.push(error),
        }
    }
    Err(not_drained())
}

/// Checks that answers match their statements: a dropped COPY leaves an additional one.
pub(crate) async fn check_sync(conn: &mut PgConnection) -> Result<(), Error> {
    probe_drained(conn, "").await.map(drop)
}

/// Queries whether a transaction is open, and whether it is the marked one.
pub(crate) async fn transaction_state(
    conn: &mut PgConnection,
    mark: Option<&str>,
) -> Result<TransactionState, Error> {
    Ok(match probe_drained(conn, "").await? {
        ProbeResult::Transaction { began } if mark.is_none_or(|mark| mark == began) => {
            TransactionState::Open
        }
        ProbeResult::Failed => TransactionState::Failed,
        _ => TransactionState::None,
    })
}

/// Queries whether a hook has left a transaction open, and the [`PARSE_SETTINGS`].
pub(crate) async fn state_after_hook(
    conn: &mut PgConnection,
) -> Result<(TransactionState, Option<String>), Error> {
    Ok(match probe_drained(conn, PARSE_SETTINGS).await? {
        ProbeResult::Nothing { settings } => (TransactionState::None, settings),
        ProbeResult::Failed => (TransactionState::Failed, None),
        _ => (TransactionState::Open, None),
    })
}

/// Returns the mark of the open transaction: the time at which it began. For a failed one that is
/// unknown, so the mark matches no later transaction.
pub(crate) async fn mark(conn: &mut PgConnection) -> Result<Option<String>, Error> {
    match probe(conn, "").await? {
        ProbeResult::Transaction { began } => Ok(Some(began)),
        ProbeResult::Failed | ProbeResult::LateError(_) => Ok(Some(String::new())),
        ProbeResult::Nothing { .. } => Ok(None),
    }
}

/// Resets the session to its initial state, outside of a transaction.
pub(crate) async fn clear_session(conn: &mut PgConnection) -> Result<(), Error> {
    // The seed of `random()` is part of a session too.
    let sql = format!("SELECT pg_catalog.setseed({}); {RESET_SESSION}", fastrand::f64());
    let rows = raw_sql(AssertSqlSafe(sql)).fetch_all(&mut *conn).await?;
    let prepared: Vec<String> =
        rows.iter().filter_map(|row| row.try_get("prepared").ok()).collect();
    if !prepared.is_empty() {
        let sql: String = prepared.iter().map(|name| format!("DEALLOCATE {name};")).collect();
        // The names are quoted by the server.
        raw_sql(AssertSqlSafe(sql)).execute(conn).await?;
    }
    Ok(())
}

/// Releases the session's advisory locks, such as that of a failed migration, and ends its
/// subscriptions.
pub(crate) async fn release_locks(conn: &mut PgConnection) -> Result<(), Error> {
    let sql = "UNLISTEN *; SELECT pg_catalog.pg_advisory_unlock_all()";
    raw_sql(sql).execute(conn).await.map(drop)
}

/// The settings that decide how a statement is parsed, as further columns of a probe.
const PARSE_SETTINGS: &str = ", pg_catalog.concat_ws(' ', \
    pg_catalog.current_schemas(false)::pg_catalog.text, pg_catalog.current_setting('TimeZone'), \
    pg_catalog.current_setting('DateStyle'), pg_catalog.current_setting('IntervalStyle'))";

/// The result of a probe.
enum ProbeResult {
    /// No transaction is open. The [`PARSE_SETTINGS`], if they were queried.
    Nothing { settings: Option<String> },
    /// A transaction is open, which began at this time.
    Transaction { began: String },
    /// A transaction has failed and has not ended.
    Failed,
    /// The error of an earlier, dropped statement.
    LateError(Error),
}

/// Probes after the late errors are drained.
async fn probe_drained(conn: &mut PgConnection, more: &str) -> Result<ProbeResult, Error> {
    for _ in 0..DRAIN_ROUNDS_MAX {
        match probe(conn, more).await? {
            ProbeResult::LateError(_) => {}
            found => return Ok(found),
        }
    }
    Err(not_drained())
}

/// Probes the connection. `more` are further columns: none or [`PARSE_SETTINGS`].
async fn probe(conn: &mut PgConnection, more: &str) -> Result<ProbeResult, Error> {
    let nonce = nonce();
    // Names and the operator are qualified, since a borrower may have changed the search path.
    let sql = format!(
        "SELECT '{nonce}'::pg_catalog.text, \
         pg_catalog.now() OPERATOR(pg_catalog.=) pg_catalog.statement_timestamp(), \
         pg_catalog.date_part('epoch', pg_catalog.now())::pg_catalog.text{more}"
    );
    let rows = match raw_sql(AssertSqlSafe(sql)).fetch_all(conn).await {
        Ok(rows) => rows,
        Err(error) if has_failed(&error) => return Ok(ProbeResult::Failed),
        Err(error) if is_late(&error) => return Ok(ProbeResult::LateError(error)),
        Err(error) => return Err(error),
    };
    let [row] = rows.as_slice() else { return Err(out_of_sync()) };
    let echo: String = row.try_get(0)?;
    let outside: bool = row.try_get(1)?;
    if echo != nonce {
        return Err(out_of_sync());
    }
    Ok(if outside {
        ProbeResult::Nothing { settings: row.try_get(3).ok() }
    } else {
        ProbeResult::Transaction { began: row.try_get(2)? }
    })
}

/// Ends the transactions that sqlx counts, with `rollback`, which leaves an empty one for sqlx's
/// own rollback. Returns the errors of dropped statements.
pub(crate) async fn end_transactions(
    conn: &mut PgConnection,
    rollback: &'static str,
) -> Result<Vec<Error>, Error> {
    let mut late_errors = Vec::new();
    for _ in 0..DRAIN_ROUNDS_MAX {
        match raw_sql(rollback).execute(&mut *conn).await {
            Err(error) if is_late(&error) => late_errors.push(error),
            result => {
                forget_transactions::<Postgres>(conn);
                return result.map(|_| late_errors);
            }
        }
    }
    Err(not_drained())
}

/// 25P02: the current transaction is aborted.
fn has_failed(error: &Error) -> bool {
    server_error(error).is_some_and(|server_error| server_error.code() == "25P02")
}

/// Returns true if an error only ended its statement. The probe itself cannot fail in this way.
pub(crate) fn is_late(error: &Error) -> bool {
    server_error(error).is_some_and(|server_error| !is_fatal(server_error))
}
