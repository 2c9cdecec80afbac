//! The number by which a session is found again from another one, and what is done to it there.
//!
//! A process id alone does not say whose session it is: a server that was started again counts
//! anew. So the number has the id in its upper half, and in its lower half the millisecond at which
//! the session began, as far as it fits.

use sqlx::{AssertSqlSafe, Error, PgConnection, raw_sql};

/// The number, of a row of `pg_stat_get_activity`.
pub(crate) const NUMBER: &str = "(pid::pg_catalog.int8 OPERATOR(pg_catalog.<<) 32) \
    OPERATOR(pg_catalog.|) ((pg_catalog.date_part('epoch', backend_start) OPERATOR(pg_catalog.*) \
    1000)::pg_catalog.int8 OPERATOR(pg_catalog.&) 4294967295)";

/// Stops what a session executes. The signal is on its way when the server answers.
pub(crate) async fn cancel(conn: &mut PgConnection, session: u64) -> Result<(), Error> {
    call("pg_cancel_backend", conn, session).await
}

/// Ends a session, also one that has yet to read what it was sent.
pub(crate) async fn end(conn: &mut PgConnection, session: u64) -> Result<(), Error> {
    call("pg_terminate_backend", conn, session).await
}

async fn call(function: &'static str, conn: &mut PgConnection, session: u64) -> Result<(), Error> {
    let pid = session >> 32;
    // Numbers need no quotes, and a statement with arguments would be one more to prepare.
    let sql = format!(
        "SELECT pg_catalog.{function}(pid) FROM \
         pg_catalog.pg_stat_get_activity({pid}::pg_catalog.int4) WHERE {NUMBER} \
         OPERATOR(pg_catalog.=) {session}"
    );
    raw_sql(AssertSqlSafe(sql)).execute(conn).await.map(drop)
}
