//! Ends abandoned sessions at the server.
//!
//! The whole session is ended, not only its query, since its connection is already closed. KILL
//! QUERY could arrive before the query has begun, and then hit nothing, or on MariaDB the next
//! query.

use crate::error_class::server_error;
use crate::verify::SESSION;
use sqlx::{AssertSqlSafe, Error, MySqlConnection, Row, raw_sql};

/// The part of a session's number that KILL takes.
const NUMBER: u64 = u32::MAX as u64;

/// No such session any more.
const UNKNOWN_SESSION: u16 = 1094;

/// Returns true if KILL ends this session by its number. ProxySQL answers this exact statement
/// itself, with its own number of the client, and takes the server's number for another client's.
pub(crate) async fn has_public_number(
    conn: &mut MySqlConnection,
    session: u64,
) -> Result<bool, Error> {
    let row = raw_sql("SELECT CONNECTION_ID()").fetch_one(conn).await?;
    Ok(row.try_get_unchecked::<u64, _>(0).is_ok_and(|number| number == session & NUMBER))
}

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
    let sql = format!("KILL CONNECTION {}", session & NUMBER);
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
