//! Ending at the server what was abandoned here.
//!
//! The whole session, not its query alone: its connection is closed already. KILL QUERY could come
//! before the query has begun, and then nothing, or on MariaDB whatever comes next, would be hit.

use crate::error_class::server_error;
use crate::verify::SESSION;
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, raw_sql};

/// There is no session of that number any more.
const UNKNOWN_SESSION: u16 = 1094;

/// Ends a session. After a failover or a restart of the server its number is another session's:
/// then nothing is done. Numbers are given out upwards, so a newer `conn` has a higher one unless
/// the server was started again. One that `is_older` and still lives shows by that alone that the
/// server was not.
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
