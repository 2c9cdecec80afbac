//! What is asked of a server about itself: whether it takes writes, and what it allows.

use crate::error_class::{is_fatal, refusal};
use millpond_sqlx::backend_api::ServerLimits;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, raw_sql};
use std::time::Duration;

/// An expression for whether the server takes writes. `read_only` is a number or a word, depending
/// on the version; the readers of some clouds have the other one.
pub(crate) const TAKES_WRITES: &str = "CAST(@@read_only AS CHAR) IN ('0', 'OFF') AND \
    CAST(@@innodb_read_only AS CHAR) IN ('0', 'OFF')";

/// Whether the server takes writes now.
pub(crate) async fn takes_writes(conn: &mut MySqlConnection) -> Result<bool, Error> {
    raw_sql(AssertSqlSafe(format!("SELECT {TAKES_WRITES}"))).fetch_one(conn).await?.try_get(0)
}

/// What the server allows this user.
pub(crate) async fn limits(conn: &mut MySqlConnection) -> Result<ServerLimits, Error> {
    const SQL: &str = "SELECT CAST(@@max_connections AS UNSIGNED) AS server, \
         CAST(@@max_user_connections AS UNSIGNED) AS user, CAST(@@wait_timeout AS \
         UNSIGNED) AS idle";
    let row = match raw_sql(SQL).fetch_one(conn).await {
        Ok(row) => row,
        // Something that only speaks MySQL's protocol, and has no such variables.
        Err(error) if refusal(&error).is_some_and(|refusal| !is_fatal(refusal.number())) => {
            return Ok(ServerLimits::default());
        }
        Err(error) => return Err(error),
    };
    let connections = [
        ("max_connections", number(&row, "server")),
        ("max_user_connections", number(&row, "user")),
    ];
    Ok(ServerLimits {
        connections: connections
            .into_iter()
            .filter_map(|(what, limit)| Some((what, limit?)))
            .collect(),
        idle: number(&row, "idle").map(|seconds| ("wait_timeout", Duration::from_secs(seconds))),
    })
}

/// A limit of 0 is none.
fn number(row: &MySqlRow, column: &str) -> Option<u64> {
    row.try_get(column).ok().filter(|limit| *limit > 0)
}
