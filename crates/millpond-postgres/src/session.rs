//! Identifies sessions, and cancels or ends them from another one.
//!
//! A process id alone does not identify a session: a restarted server may reuse it. So the number
//! has the id in its upper half, and in its lower half the low bits of the millisecond at which the
//! session began.

use sqlx::{AssertSqlSafe, Error, PgConnection, raw_sql};

/// The number, computed from a row of `pg_stat_get_activity`.
pub(crate) const NUMBER: &str = "(pid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
    OPERATOR(pg_catalog.|) ((pg_catalog.date_part('epoch', backend_start) OPERATOR(pg_catalog.*) \
    1000)::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295)";

/// Cancels a session's statement. The signal has been sent when the server answers.
pub(crate) async fn cancel(conn: &mut PgConnection, session: u64) -> Result<(), Error> {
    call("pg_cancel_backend", conn, session).await
}

/// Ends a session, even if it has unread messages.
pub(crate) async fn end(conn: &mut PgConnection, session: u64) -> Result<(), Error> {
    call("pg_terminate_backend", conn, session).await
}

async fn call(function: &'static str, conn: &mut PgConnection, session: u64) -> Result<(), Error> {
    let pid = session >> 32;
    // Numbers need no quoting, and a statement with arguments would have to be prepared.
    let sql = format!(
        "SELECT pg_catalog.{function}(pid) FROM \
         pg_catalog.pg_stat_get_activity({pid}::pg_catalog.int4) WHERE {NUMBER} \
         OPERATOR(pg_catalog.=) {session}"
    );
    raw_sql(AssertSqlSafe(sql)).execute(conn).await.map(drop)
}
