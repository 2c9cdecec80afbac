//! Whether something stands between a pool and its server that lends servers for one transaction
//! each.
//!
//! That is no session, so a pool that takes it for one gets other people's answers. A pooler says
//! nothing of itself. It is suspected if a session is older than its connection, or has lost what
//! the driver asked for when it was opened; both are so with a pooler that lends a server for a
//! whole session, too. It is certain when two connections that are both open have the same server
//! process.

use sqlx::{Error, PgConnection, Row, raw_sql};

/// How often two connections are compared. Others who use the pooler may take the server that was
/// just given back.
const ROUNDS: usize = 6;

/// What is said when it is certain.
pub(crate) const POOLER_FOUND: &str = "what answers is a pooler that lends a server for each \
    transaction (PgBouncer with pool_mode = transaction): two connections that are open have the \
    same server process, so answers and sessions would be other people's; write behind \
    = \"pgbouncer\" (PgPoolOptions::behind), or connect to the server itself; behind \
    = \"unchecked\" connects without this look";

/// What is said when it may be so.
pub(crate) const POOLER_SUSPECTED: &str = "what answers seems to be a pooler: if it lends a server \
    for each transaction (pool_mode = transaction), write behind = \"pgbouncer\" \
    (PgPoolOptions::behind), or answers and sessions are other people's; if it lends one for a \
    whole session, all is well";

/// What is said when it refuses what the driver asks every server for.
pub(crate) const STARTUP_REFUSED: &str = "what answers is a pooler that refuses a parameter of the \
    start-up: if it lends a server for each transaction (PgBouncer with pool_mode = transaction), \
    write behind = \"pgbouncer\" (PgPoolOptions::behind); if it lends one for a whole session, add \
    the parameter to its ignore_startup_parameters";

/// Whether two open connections are seen on one server.
pub(crate) async fn share_backend_process(
    one: &mut PgConnection,
    other: &mut PgConnection,
) -> Result<bool, Error> {
    for _ in 0..ROUNDS {
        let first = process(one, "SELECT pg_catalog.pg_backend_pid()").await?;
        // In a transaction it stays where it is.
        let second = process(other, "BEGIN; SELECT pg_catalog.pg_backend_pid()").await?;
        raw_sql("ROLLBACK").execute(&mut *other).await?;
        if first == second {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn process(conn: &mut PgConnection, sql: &'static str) -> Result<i32, Error> {
    raw_sql(sql).fetch_one(conn).await?.try_get(0)
}
