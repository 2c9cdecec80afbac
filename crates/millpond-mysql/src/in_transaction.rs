//! Queries whether a transaction is open at the server, and classifies what may end one.
//!
//! The server ends transactions by itself: at a deadlock, at some other errors, at statements that
//! commit implicitly. MariaDB has a variable that shows whether one is open. On MySQL a savepoint
//! shows it: set outside a transaction, it is gone at once. With autocommit disabled it is not, but
//! then the settings of the next transaction cannot be changed while one is open.

use crate::error_class::{is_fatal, is_savepoint_gone, server_error};
use crate::verify::{self, drain};
use millpond_sqlx::backend_api::{MayEnd, TransactionState};
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, SqlSafeStr, raw_sql};

/// The name of the savepoint that marks a transaction.
const MARK: &str = "_millpond_mark";

/// No such variable.
const NO_VARIABLE: u16 = 1193;

/// The next transaction's settings cannot be changed while one is open.
const TRANSACTION_OPEN: u16 = 1568;

/// Keywords of statements that do not end a transaction.
const NO_TRANSACTION_EFFECT: [&str; 14] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "VALUES", "WITH", "SHOW", "EXPLAIN",
    "DESCRIBE", "DESC", "USE", "DO", "TABLE",
];

/// Keywords of statements whose text does not show what they do.
const UNKNOWN_EFFECT: [&str; 5] = ["", "CALL", "EXECUTE", "XA", "SET"];

/// Returns whether a statement may end its transaction, by its first keyword.
pub(crate) fn ends_transaction(keyword: &str) -> MayEnd {
    let is_one_of = |words: &[&str]| words.iter().any(|word| keyword.eq_ignore_ascii_case(word));
    if is_one_of(&NO_TRANSACTION_EFFECT) {
        MayEnd::Never
    } else if is_one_of(&UNKNOWN_EFFECT) {
        MayEnd::Perhaps
    } else {
        MayEnd::Commits
    }
}

/// Queries whether a transaction is open.
pub(crate) async fn transaction_state(
    conn: &mut MySqlConnection,
) -> Result<TransactionState, Error> {
    let late_errors = drain(conn).await?;
    let is_open = match ask(conn, "SELECT CAST(@@in_transaction AS SIGNED)").await? {
        Answer::Value(value) => value == 1,
        Answer::Error(NO_VARIABLE) => {
            let autocommit = ask(conn, "SELECT CAST(@@autocommit AS SIGNED)").await?;
            if matches!(autocommit, Answer::Value(1)) {
                mark(conn).await?.is_some() && release(conn, MARK).await?
            } else {
                let mode = if is_read_only(conn).await? { "READ ONLY" } else { "READ WRITE" };
                let changed = ask(conn, format!("SET TRANSACTION {mode}")).await?;
                matches!(changed, Answer::Error(TRANSACTION_OPEN))
            }
        }
        Answer::Error(_) => false,
    };
    state(is_open, late_errors)
}

/// Checks that the next answer belongs to the next question. Then returns the error of a savepoint
/// that the driver has not rolled back, unless the whole transaction has ended.
pub(crate) async fn check_sync(conn: &mut MySqlConnection) -> Result<(), Error> {
    match verify::check_sync(conn).await? {
        Some(error) if transaction_state(conn).await? == TransactionState::Open => Err(error),
        _ => Ok(()),
    }
}

/// Returns true if the session's transactions are read-only by default. Before MySQL 5.7.20 the
/// variable has only its old name.
async fn is_read_only(conn: &mut MySqlConnection) -> Result<bool, Error> {
    for name in ["transaction_read_only", "tx_read_only"] {
        if let Answer::Value(value) = ask(conn, format!("SELECT CAST(@@{name} AS SIGNED)")).await? {
            return Ok(value == 1);
        }
    }
    Ok(false)
}

/// Sets the savepoint that marks the transaction.
pub(crate) async fn mark(conn: &mut MySqlConnection) -> Result<Option<String>, Error> {
    let set = ask(conn, format!("SAVEPOINT {MARK}")).await?;
    Ok(matches!(set, Answer::Value(_)).then(|| MARK.to_owned()))
}

/// Queries whether the marked transaction is still open.
pub(crate) async fn is_marked(
    conn: &mut MySqlConnection,
    mark: &str,
) -> Result<TransactionState, Error> {
    let late_errors = drain(conn).await?;
    state(release(conn, mark).await?, late_errors)
}

/// Returns the state, or the error of a savepoint that the driver has not rolled back. Its rollback
/// is queued when it is dropped, and fails as well if the whole transaction has ended.
fn state(is_open: bool, late_errors: Vec<Error>) -> Result<TransactionState, Error> {
    if !is_open {
        return Ok(TransactionState::None);
    }
    late_errors.into_iter().find(is_savepoint_gone).map_or(Ok(TransactionState::Open), Err)
}

async fn release(conn: &mut MySqlConnection, mark: &str) -> Result<bool, Error> {
    let released = ask(conn, format!("RELEASE SAVEPOINT {mark}")).await?;
    Ok(matches!(released, Answer::Value(_)))
}

enum Answer {
    /// The number in the first row, or 0 for a statement without rows.
    Value(i64),
    Error(u16),
}

async fn ask(conn: &mut MySqlConnection, sql: impl Into<String>) -> Result<Answer, Error> {
    let sql = AssertSqlSafe(sql.into()).into_sql_str();
    match raw_sql(sql).fetch_all(conn).await {
        Ok(rows) => Ok(Answer::Value(rows.first().map_or(Ok(0), |row| row.try_get(0))?)),
        Err(error) => match server_error(&error).map(|server_error| server_error.number()) {
            Some(number) if !is_fatal(number) => Ok(Answer::Error(number)),
            _ => Err(error),
        },
    }
}
