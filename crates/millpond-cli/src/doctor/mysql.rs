//! What a MySQL or MariaDB server says about itself and a connection.

use super::answers::{Address, Answers};
use super::measured::{Clock, Encryption, Memory, unix_time};
use super::tls::Prelude;
use millpond::advice::ServerLimit;
use millpond::mysql::{MySqlPool, MySqlPoolOptions};
use sqlx::Row;
use sqlx::mysql::MySqlSslMode;

const LIMITS: &str = "SELECT VERSION() AS version, \
    CAST(@@max_connections AS UNSIGNED) AS server, \
    CAST(@@max_user_connections AS UNSIGNED) AS user";

/// MariaDB.
const MEMORY_USED: &str = "SELECT CAST(MEMORY_USED AS UNSIGNED) FROM \
    information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()";

/// MySQL.
const INSTRUMENTED: &str = "SELECT CAST(SUM(CURRENT_NUMBER_OF_BYTES_USED) AS UNSIGNED) FROM \
    performance_schema.memory_summary_by_thread_by_event_name JOIN performance_schema.threads \
    USING (THREAD_ID) WHERE PROCESSLIST_ID = CONNECTION_ID()";

const CLOCK: &str = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) AS DOUBLE)";

/// Asks the server. What the user may not see stays unknown.
pub async fn ask(pool: &MySqlPool) -> sqlx::Result<Answers> {
    // First, since other queries make the session larger.
    let memory = memory(pool).await;
    let row = sqlx::query(LIMITS).fetch_one(pool).await?;
    // A limit of 0 means no limit.
    let number = |column: &str| row.try_get::<u64, _>(column).ok().filter(|limit| *limit > 0);
    let limits = [("max_connections", number("server")), ("max_user_connections", number("user"))];
    let limits =
        limits.into_iter().filter_map(|(name, limit)| Some(ServerLimit::new(name, limit?)));
    let version: String = row.try_get("version")?;
    let product = if version.contains("MariaDB") { "MariaDB" } else { "MySQL" };
    let open = status(pool, "SHOW GLOBAL STATUS LIKE 'Threads_connected'").await;
    Ok(Answers {
        server: format!("{product} {version}"),
        memory,
        encryption: encryption(pool).await.unwrap_or_default(),
        limits: limits.collect(),
        open: open.and_then(|open| open.parse().ok()),
        clock: clock(pool).await,
    })
}

async fn memory(pool: &MySqlPool) -> Option<Memory> {
    for (sql, how) in [
        (MEMORY_USED, "information_schema.PROCESSLIST.MEMORY_USED"),
        (INSTRUMENTED, "performance_schema, what its thread has allocated"),
    ] {
        let row = sqlx::query(sql).fetch_one(pool).await;
        if let Some(bytes) = row.ok().and_then(|row| row.try_get::<u64, _>(0).ok()) {
            return Some(Memory { bytes, how });
        }
    }
    None
}

async fn encryption(pool: &MySqlPool) -> Option<Encryption> {
    let version = status(pool, "SHOW SESSION STATUS LIKE 'Ssl_version'").await?;
    let cipher = status(pool, "SHOW SESSION STATUS LIKE 'Ssl_cipher'").await?;
    Some(match cipher.is_empty() {
        true => Encryption::Off,
        false => Encryption::On(format!("{version}, {cipher}")),
    })
}

/// Returns the value of a status variable.
async fn status(pool: &MySqlPool, sql: &'static str) -> Option<String> {
    sqlx::query(sql).fetch_one(pool).await.ok()?.try_get(1).ok()
}

async fn clock(pool: &MySqlPool) -> Option<Clock> {
    let before = unix_time();
    let row = sqlx::query(CLOCK).fetch_one(pool).await.ok()?;
    Some(Clock::new(row.try_get(0).ok()?, before, unix_time()))
}

/// Returns the address that a URL names.
pub fn address(url: &str) -> Option<Address> {
    let options = MySqlPoolOptions::parse_url(url).ok()?;
    let socket = options.get_socket().map(|path| path.display().to_string());
    Some(Address {
        host: socket.unwrap_or_else(|| options.get_host().to_owned()),
        port: options.get_port(),
        may_fall_back: matches!(options.get_ssl_mode(), MySqlSslMode::Preferred),
        prelude: Prelude::MySql,
        tls_help: "add ?ssl-mode=VERIFY_IDENTITY to the URL",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_urls_accept_a_server_without_tls() {
        for (url, falls_back) in [
            ("mysql://u@h:7000/d", true),
            ("mysql://u@h:7000/d?ssl-mode=REQUIRED", false),
            ("mysql://u@h:7000/d?ssl-mode=VERIFY_IDENTITY", false),
        ] {
            let address = address(url).unwrap();
            assert_eq!((address.host.as_str(), address.port), ("h", 7000), "{url}");
            assert_eq!(address.may_fall_back, falls_back, "{url}");
        }
    }
}
