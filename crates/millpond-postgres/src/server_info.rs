//! Queries about the server: a new connection's session, whether it accepts writes, and its limits.

use crate::error_class::{is_fatal, server_error};
use crate::session::NUMBER;
use millpond_sqlx::backend_api::ServerLimits;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Error, PgConnection, PgExecutor, Row, SqlSafeStr, raw_sql};
use std::time::Duration;

/// What a new connection queries, in one round trip.
pub(crate) struct SessionInfo {
    /// The session's number for [`session`](crate::session); none if the current role may not see
    /// it.
    pub(crate) session: Option<u64>,
    pub(crate) takes_writes: bool,
    /// The session's age, if the current role may see it.
    pub(crate) age: Option<Duration>,
    /// Whether it has the settings that the driver requests when it opens a session.
    pub(crate) has_driver_settings: bool,
}

impl SessionInfo {
    /// Returns true if another client may have used the session before; `opened` is how long the
    /// connect took.
    pub(crate) fn may_be_pooled(&self, opened: Duration) -> bool {
        // The server's clock may be adjusted, and its process starts shortly before it answers.
        const MARGIN: Duration = Duration::from_secs(1);
        !self.has_driver_settings || self.age.is_some_and(|age| age > opened.saturating_add(MARGIN))
    }
}

/// Queries the session. Returns `None` if the server only speaks PostgreSQL's protocol and does not
/// support these functions. `float_digits` is the `extra_float_digits` that the driver requests.
pub(crate) async fn query_session(
    conn: &mut PgConnection,
    float_digits: Option<i8>,
) -> Result<Option<SessionInfo>, Error> {
    let requested = float_digits.map_or("unknown".to_owned(), |digits| digits.to_string());
    // Before version 12 that is the server's own default.
    let unless_default = match float_digits {
        Some(0) => {
            " AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 \
             OPERATOR(pg_catalog.>=) 120000"
        }
        _ => "",
    };
    let sql = format!(
        "SELECT {NUMBER}, NOT pg_catalog.pg_is_in_recovery(), pg_catalog.date_part('epoch', \
         pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) backend_start), \
         pg_catalog.current_setting('extra_float_digits') OPERATOR(pg_catalog.=) '{requested}' \
         {unless_default} \
         FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())"
    );
    let Some(row) = ask(conn, AssertSqlSafe(sql)).await? else { return Ok(None) };
    let session = row.try_get::<Option<i64>, _>(0)?.map(i64::unsigned_abs);
    let age =
        row.try_get::<Option<f64>, _>(2)?.and_then(|age| Duration::try_from_secs_f64(age).ok());
    Ok(Some(SessionInfo {
        session,
        takes_writes: row.try_get(1)?,
        age,
        has_driver_settings: row.try_get(3)?,
    }))
}

/// Queries whether the server accepts writes.
pub(crate) async fn takes_writes(conn: &mut PgConnection) -> Result<bool, Error> {
    raw_sql("SELECT NOT pg_catalog.pg_is_in_recovery()").fetch_one(conn).await?.try_get(0)
}

/// Queries the client port of this connection as the server sees it, if there is one.
pub(crate) async fn own_port(conn: impl PgExecutor<'_>) -> Result<Option<u16>, Error> {
    let row = ask(conn, "SELECT pg_catalog.inet_client_port()").await?;
    let port: Option<i32> = row.and_then(|row| row.try_get(0).ok());
    Ok(port.and_then(|port| u16::try_from(port).ok()))
}

/// Queries the server's limits for this role and database. Older versions lack some of the
/// settings.
pub(crate) async fn limits(conn: &mut PgConnection) -> Result<ServerLimits, Error> {
    const SQL: &str = "WITH s AS (SELECT name, setting::pg_catalog.int8 AS n FROM \
        pg_catalog.pg_settings WHERE name IN ('max_connections', 'superuser_reserved_connections', \
        'reserved_connections', 'idle_session_timeout')) SELECT (SELECT n FROM s WHERE name \
        = 'max_connections') - coalesce((SELECT sum(n) FROM s WHERE name LIKE \
        '%reserved_connections'), 0)::pg_catalog.int8 AS server, (SELECT rolconnlimit FROM \
        pg_catalog.pg_roles WHERE rolname = session_user)::pg_catalog.int8 AS role, (SELECT \
        datconnlimit FROM pg_catalog.pg_database WHERE datname \
        = current_database())::pg_catalog.int8 AS base, (SELECT n FROM s WHERE name \
        = 'idle_session_timeout') AS idle";
    let Some(row) = ask(conn, SQL).await? else { return Ok(ServerLimits::default()) };
    // A limit of -1 means no limit, and so does an idle time of 0.
    let number = |column| {
        row.try_get::<Option<i64>, _>(column).ok().flatten().and_then(|n| u64::try_from(n).ok())
    };
    let connections = [
        ("max_connections less what is reserved", number("server")),
        ("the role's CONNECTION LIMIT", number("role")),
        ("the database's CONNECTION LIMIT", number("base")),
    ];
    let idle = number("idle").filter(|millis| *millis > 0).map(Duration::from_millis);
    Ok(ServerLimits {
        connections: connections
            .into_iter()
            .filter_map(|(what, limit)| Some((what, limit?)))
            .collect(),
        idle: idle.map(|limit| ("idle_session_timeout", limit)),
    })
}

/// Uses the simple protocol, so that nothing is prepared, neither at a pooler nor in sqlx's cache.
async fn ask(
    conn: impl PgExecutor<'_>,
    sql: impl SqlSafeStr + Send,
) -> Result<Option<PgRow>, Error> {
    match raw_sql(sql).fetch_optional(conn).await {
        Ok(row) => Ok(row),
        Err(error) if server_error(&error).is_some_and(|server_error| !is_fatal(server_error)) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
