//! What backends have in common when they verify that a connection is in sync: for servers that
//! answer in turn.

use sqlx::{Connection, Database, Error};
use sqlx_core::transaction::TransactionManager;

/// How many answers to earlier statements are read over, and transactions undone, before a
/// connection is given up.
pub const DRAIN_ROUNDS_MAX: usize = 64;

/// Reads over what a server still has to say about statements that were cut off. The result is the
/// first error among it, which nobody else sees. `is_late` says whether an error ended a statement
/// and nothing more.
///
/// # Errors
///
/// The driver's; that the server has still more to say after [`DRAIN_ROUNDS_MAX`] answers.
///
/// # Cancel safety
///
/// If the future is dropped the connection is as it was: to be read over again, or closed.
pub async fn read_late_errors<DB: Database>(
    conn: &mut DB::Connection,
    is_late: fn(&Error) -> bool,
) -> Result<Option<Error>, Error> {
    let mut first = None;
    for _ in 0..DRAIN_ROUNDS_MAX {
        match conn.ping().await {
            Ok(()) => return Ok(first),
            Err(error) if is_late(&error) => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(not_drained())
}

/// Lets the driver forget the transactions that it believes to be open. It queues a rollback for
/// each, which lowers its count; if the server knows nothing of it, since it was ended behind the
/// driver's back, the answer is a late error.
pub fn forget_transactions<DB: Database>(conn: &mut DB::Connection) {
    while conn.is_in_transaction() {
        DB::TransactionManager::start_rollback(conn);
    }
}

/// A text that only the answer to this very question contains.
pub fn nonce() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// The error of a connection on which an answer belongs to another question.
pub fn out_of_sync() -> Error {
    Error::Protocol(
        "the connection is out of step: the answer belongs to another question".to_owned(),
    )
}

/// The error of a connection that does not come to rest.
pub fn not_drained() -> Error {
    Error::Protocol(format!(
        "the connection is still not at rest after {DRAIN_ROUNDS_MAX} attempts"
    ))
}
