//! Whether a transaction is open at the server, and what may end one.
//!
//! The server ends transactions by itself: at a deadlock, at some other errors, at statements that
//! commit first. MariaDB says whether one is open. MySQL tells it by a savepoint: set outside a
//! transaction it is gone at once. Where autocommit is off it is not, but there what belongs to the
//! next transaction cannot be changed while one is open.

use crate::error_class::{is_fatal, server_error};
use crate::verify::drain;
use millpond_sqlx::backend_api::{MayEnd, TransactionState};
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, SqlSafeStr, raw_sql};

/// The name of the savepoint by which a transaction is known again.
const MARK: &str = "_millpond_mark";

/// There is no such variable.
const NO_VARIABLE: u16 = 1193;

/// What the next transaction is like cannot be changed while one is open.
const TRANSACTION_OPEN: u16 = 1568;

/// Statements that end no transaction by themselves.
const NO_TRANSACTION_EFFECT: [&str; 14] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "VALUES", "WITH", "SHOW", "EXPLAIN",
    "DESCRIBE", "DESC", "USE", "DO", "TABLE",
];

/// Statements of which the text does not say what they do.
const UNKNOWN_EFFECT: [&str; 5] = ["", "CALL", "EXECUTE", "XA", "SET"];

/// Whether a statement may end the transaction in which it is executed, by its first keyword.
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

/// Asks whether a transaction is open.
pub(crate) async fn transaction_state(
    conn: &mut MySqlConnection,
) -> Result<TransactionState, Error> {
    drain_driver_queue(conn).await?;
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
    Ok(if is_open { TransactionState::Open } else { TransactionState::None })
}

/// Whether transactions of this session are read-only unless they say otherwise. Before MySQL
/// 5.7.20 the variable has its old name alone.
async fn is_read_only(conn: &mut MySqlConnection) -> Result<bool, Error> {
    for name in ["transaction_read_only", "tx_read_only"] {
        if let Answer::Value(value) = ask(conn, format!("SELECT CAST(@@{name} AS SIGNED)")).await? {
            return Ok(value == 1);
        }
    }
    Ok(false)
}

/// Sets the savepoint by which the transaction is known again.
pub(crate) async fn mark(conn: &mut MySqlConnection) -> Result<Option<String>, Error> {
    let set = ask(conn, format!("SAVEPOINT {MARK}")).await?;
    Ok(matches!(set, Answer::Value(_)).then(|| MARK.to_owned()))
}

/// Asks whether the transaction that was marked is still open.
pub(crate) async fn is_marked(
    conn: &mut MySqlConnection,
    mark: &str,
) -> Result<TransactionState, Error> {
    drain_driver_queue(conn).await?;
    let is_open = release(conn, mark).await?;
    Ok(if is_open { TransactionState::Open } else { TransactionState::None })
}

/// Reads over the answers to what the driver has sent on its own account: a savepoint that was
/// dropped is rolled back so.
async fn drain_driver_queue(conn: &mut MySqlConnection) -> Result<(), Error> {
    drain(conn).await.map(drop)
}

async fn release(conn: &mut MySqlConnection, mark: &str) -> Result<bool, Error> {
    let released = ask(conn, format!("RELEASE SAVEPOINT {mark}")).await?;
    Ok(matches!(released, Answer::Value(_)))
}

enum Answer {
    /// The number, or 0 of a statement without rows.
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
