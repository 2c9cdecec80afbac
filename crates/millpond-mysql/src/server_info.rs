//! Queries about the server: whether it accepts writes, and its limits.

use crate::error_class::{is_fatal, server_error};
use millpond_sqlx::backend_api::ServerLimits;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, raw_sql};
use std::time::Duration;

/// An expression for whether the server accepts writes. `read_only` is a number or a word,
/// depending on the version; the read replicas of some cloud providers set `innodb_read_only`
/// instead.
pub(crate) const TAKES_WRITES: &str = "CAST(@@read_only AS CHAR) IN ('0', 'OFF') AND \
    CAST(@@innodb_read_only AS CHAR) IN ('0', 'OFF')";

/// Queries whether the server accepts writes.
pub(crate) async fn takes_writes(conn: &mut MySqlConnection) -> Result<bool, Error> {
    raw_sql(AssertSqlSafe(format!("SELECT {TAKES_WRITES}"))).fetch_one(conn).await?.try_get(0)
}

/// Queries the client port of this connection as the server sees it, if it shows one.
pub(crate) async fn own_port(conn: &mut MySqlConnection) -> Result<Option<u16>, Error> {
    const SQL: &str = "SELECT HOST FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()";
    let host: Option<String> = ask(conn, SQL).await?.and_then(|row| row.try_get(0).ok());
    Ok(host.and_then(|host| host.rsplit_once(':')?.1.parse().ok()))
}

/// Queries the server's limits for this user.
pub(crate) async fn limits(conn: &mut MySqlConnection) -> Result<ServerLimits, Error> {
    const SQL: &str = "SELECT CAST(@@max_connections AS UNSIGNED) AS server, \
         CAST(@@max_user_connections AS UNSIGNED) AS user, CAST(@@wait_timeout AS \
         UNSIGNED) AS idle";
    let Some(row) = ask(conn, SQL).await? else { return Ok(ServerLimits::default()) };
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

/// Returns `None` if the server only speaks MySQL's protocol and does not support the query.
async fn ask(conn: &mut MySqlConnection, sql: &'static str) -> Result<Option<MySqlRow>, Error> {
    match raw_sql(sql).fetch_optional(conn).await {
        Err(error)
            if server_error(&error)
                .is_some_and(|server_error| !is_fatal(server_error.number())) =>
        {
            Ok(None)
        }
        row => row,
    }
}

/// A limit of 0 means no limit.
fn number(row: &MySqlRow, column: &str) -> Option<u64> {
    row.try_get(column).ok().filter(|limit| *limit > 0)
}
