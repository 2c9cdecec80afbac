//! Ends abandoned sessions at the server.
//!
//! The whole session is ended, not only its query, since its connection is already closed. KILL
//! QUERY could arrive before the query has begun, and then hit nothing, or on MariaDB the next
//! query.

use crate::error_class::server_error;
use crate::verify::SESSION;
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, raw_sql};

/// No such session any more.
const UNKNOWN_SESSION: u16 = 1094;

/// Ends a session. After a failover or a restart of the server the number may belong to another
/// session; then nothing is done. Numbers are assigned in ascending order, so a newer `conn` has a
/// higher one unless the server was restarted. An older `conn` that still works shows that it was
/// not.
pub(crate) async fn kill(
    conn: &mut MySqlConnection,
    session: u64,
    is_older: bool,
) -> Result<(), Error> {
    let row = raw_sql(AssertSqlSafe(format!("SELECT {SESSION}"))).fetch_one(&mut *conn).await?;
    let ours: u64 = row.try_get(0)?;
    if ours >> 32 != session >> 32 || (!is_older && ours <= session) {
        return Ok(());
    }
    let sql = format!("KILL CONNECTION {}", session & u64::from(u32::MAX));
    match raw_sql(AssertSqlSafe(sql)).execute(conn).await {
        Err(error)
            if server_error(&error)
                .is_some_and(|server_error| server_error.number() == UNKNOWN_SESSION) =>
        {
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}
