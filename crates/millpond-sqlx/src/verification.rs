//! Shared parts of verifying a connection, for servers that answer in order.

use sqlx::{Connection, Database, Error};
use sqlx_core::transaction::TransactionManager;

/// The most answers to earlier statements that are drained, and transactions that are rolled back,
/// before a connection is given up.
pub const DRAIN_ROUNDS_MAX: usize = 64;

/// Drains a server's answers to dropped statements. Returns the errors among them, which nothing
/// else reports. `is_late` returns true for an error that only ended a statement.
///
/// # Errors
///
/// The driver's; an error if answers are still pending after [`DRAIN_ROUNDS_MAX`] attempts.
///
/// # Cancel safety
///
/// If the future is dropped, drain the connection again, or close it.
pub async fn read_late_errors<DB: Database>(
    conn: &mut DB::Connection,
    is_late: fn(&Error) -> bool,
) -> Result<Vec<Error>, Error> {
    let mut late_errors = Vec::new();
    for _ in 0..DRAIN_ROUNDS_MAX {
        match conn.ping().await {
            Ok(()) => return Ok(late_errors),
            Err(error) if is_late(&error) => late_errors.push(error),
            Err(error) => return Err(error),
        }
    }
    Err(not_drained())
}

/// Makes the driver forget the transactions that it counts as open, by queueing a rollback for
/// each. If the server has already ended one, its answer is a late error.
pub fn forget_transactions<DB: Database>(conn: &mut DB::Connection) {
    while conn.is_in_transaction() {
        DB::TransactionManager::start_rollback(conn);
    }
}

/// Returns a random text by which the answer to one query is recognised.
pub fn nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// Returns the error of a connection on which an answer belongs to another query.
pub fn out_of_sync() -> Error {
    Error::Protocol("the connection is out of sync: the answer belongs to another query".to_owned())
}

/// Returns the error of a connection with answers still pending.
pub fn not_drained() -> Error {
    Error::Protocol(format!(
        "the connection still has pending answers after {DRAIN_ROUNDS_MAX} \
        attempts"
    ))
}
