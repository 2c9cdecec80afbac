//! What a PostgreSQL server says about itself and a connection.

use super::answers::{Address, Answers};
use super::measured::{Clock, Encryption, Memory, unix_time};
use super::memory;
use super::tls::Prelude;
use millpond::advice::ServerLimit;
use millpond::postgres::{PgPool, PgPoolOptions, PgSslMode};
use sqlx::Row;
use sqlx::postgres::PgRow;

const LIMITS: &str = "SELECT current_setting('server_version') AS version, \
    current_setting('max_connections')::int8 AS max_connections, \
    current_setting('superuser_reserved_connections')::int8 \
    + coalesce(current_setting('reserved_connections', true), '0')::int8 AS reserved, \
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user)::int8 AS role, \
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database())::int8 AS base, \
    (SELECT sum(numbackends) FROM pg_stat_database)::int8 AS open";

const PROCESS: &str = "SELECT pg_backend_pid() AS process, \
    inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr() AS local";

/// Needs a role that may see it, such as one that is granted pg_monitor.
const CONTEXTS: &str = "SELECT sum(total_bytes)::int8 FROM pg_backend_memory_contexts";

const ENCRYPTION: &str =
    "SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

const CLOCK: &str = "SELECT extract(epoch FROM clock_timestamp())::float8";

/// Asks the server. What the role may not see stays unknown.
pub async fn ask(pool: &PgPool) -> sqlx::Result<Answers> {
    // First, since each query of the catalogue makes the session larger.
    let memory = match of_process(pool).await {
        Some(memory) => Some(memory),
        None => of_contexts(pool).await,
    };
    let row = sqlx::query(LIMITS).fetch_one(pool).await?;
    let number = |column: &str| {
        row.try_get::<Option<i64>, _>(column).ok().flatten().and_then(|n| u64::try_from(n).ok())
    };
    let reserved = number("reserved").unwrap_or(0);
    let limits = [
        ("max_connections", number("max_connections"), reserved),
        // A limit of -1 means no limit.
        ("the role's CONNECTION LIMIT", number("role"), 0),
        ("the database's CONNECTION LIMIT", number("base"), 0),
    ];
    let limits = limits.into_iter().filter_map(|(name, limit, reserved)| {
        Some(ServerLimit::new(name, limit?).reserved(reserved))
    });
    let version: String = row.try_get("version")?;
    let encryption = sqlx::query(ENCRYPTION).fetch_optional(pool).await;
    Ok(Answers {
        server: format!("PostgreSQL {version}"),
        memory,
        encryption: encryption.ok().flatten().and_then(|row| spelt(&row)).unwrap_or_default(),
        limits: limits.collect(),
        open: number("open"),
        clock: clock(pool).await,
    })
}

/// Returns the memory of the server's process for this connection, if it is on this machine.
async fn of_process(pool: &PgPool) -> Option<Memory> {
    let row = sqlx::query(PROCESS).fetch_one(pool).await.ok()?;
    let is_local: bool = row.try_get("local").ok()?;
    let process = u32::try_from(row.try_get::<i32, _>("process").ok()?).ok()?;
    // With a forwarded port the server may be elsewhere, and its number be that of another process.
    if !is_local || !memory::name(process)?.starts_with("postgres") {
        return None;
    }
    let bytes = memory::proportional(&process.to_string())?;
    Some(Memory { bytes, how: "proportional set size of its process" })
}

async fn of_contexts(pool: &PgPool) -> Option<Memory> {
    let row = sqlx::query(CONTEXTS).fetch_one(pool).await.ok()?;
    let bytes: i64 = row.try_get(0).ok()?;
    Some(Memory {
        bytes: u64::try_from(bytes).ok()?,
        how: "pg_backend_memory_contexts, without what the process itself needs",
    })
}

fn spelt(row: &PgRow) -> Option<Encryption> {
    if !row.try_get::<bool, _>("ssl").ok()? {
        return Some(Encryption::Off);
    }
    let text = |column: &str| row.try_get::<String, _>(column).ok();
    Some(Encryption::On(format!("{}, {}", text("version")?, text("cipher")?)))
}

async fn clock(pool: &PgPool) -> Option<Clock> {
    let before = unix_time();
    let row = sqlx::query(CLOCK).fetch_one(pool).await.ok()?;
    Some(Clock::new(row.try_get(0).ok()?, before, unix_time()))
}

/// Returns the address that a URL names.
pub fn address(url: &str) -> Option<Address> {
    let options = PgPoolOptions::parse_url(url).ok()?;
    let socket = options.get_socket().map(|path| path.display().to_string());
    Some(Address {
        host: socket.unwrap_or_else(|| options.get_host().to_owned()),
        port: options.get_port(),
        may_fall_back: matches!(options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Prefer),
        prelude: Prelude::Postgres,
        tls_help: "add ?sslmode=verify-full to the URL",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_urls_accept_a_server_without_tls() {
        for (url, falls_back) in [
            ("postgres://u@h:7000/d", true),
            ("postgres://u@h:7000/d?sslmode=prefer", true),
            ("postgres://u@h:7000/d?sslmode=require", false),
            ("postgres://u@h:7000/d?sslmode=verify-full", false),
        ] {
            let address = address(url).unwrap();
            assert_eq!((address.host.as_str(), address.port), ("h", 7000), "{url}");
            assert_eq!(address.may_fall_back, falls_back, "{url}");
        }
    }
}
