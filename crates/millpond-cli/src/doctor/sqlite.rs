//! An SQLite file: how long it takes to open, and how much each connection may cache.

use super::measured::{CONNECTS, DATABASE, Measured, Memory, PINGS, median};
use super::memory;
use crate::reach;
use millpond::Settings;
use millpond::advice::{Finding, Severity};
use millpond::sqlite::{PoolKind, SqlitePool, SqlitePoolOptions};
use sqlx::Row;
use std::path::{self, Path};
use std::time::Instant;

/// How many connections are opened to see what one needs in this process.
const SAMPLE: u32 = 8;

/// Measures a file without changing it: a pool of the service would create a missing one, and
/// change its journal mode.
pub async fn diagnose(settings: &Settings) -> Result<(Measured, Vec<Finding>), String> {
    let url = settings.storage.connection_string.as_ref().map_or("", |url| url.expose());
    let options = SqlitePoolOptions::parse_url(url).map_err(|error| error.to_string())?;
    let path = path::absolute(options.get_filename()).map_err(|error| error.to_string())?;
    if reach::may_create(url) && !path.exists() && path.parent().is_some_and(Path::is_dir) {
        let message = format!("{} does not exist", path.display());
        let help = "the service would create it; there is nothing to measure yet";
        let finding = Finding::new(Severity::Note, DATABASE, message, help);
        let server = "SQLite".to_owned();
        return Ok((Measured { setting: DATABASE, server, ..Measured::default() }, vec![finding]));
    }
    let pool = SqlitePoolOptions::new().pool(PoolKind::Null);
    let pool = pool.connect_with(options.read_only(true).create_if_missing(false)).await;
    let pool = pool.map_err(|error| format!("cannot be opened to read it: {error}"))?;
    let measured = measure(&pool).await.map_err(|error| error.to_string());
    pool.close().await;
    let mut measured = measured?;
    measured.server = format!("{} ({})", measured.server, path.display());
    Ok((measured, Vec::new()))
}

async fn measure(pool: &SqlitePool) -> sqlx::Result<Measured> {
    let mut connects = Vec::new();
    for _ in 0..CONNECTS {
        let started = Instant::now();
        // Reads the schema, which SQLite does at the first statement.
        let mut lease = pool.acquire().await?;
        sqlx::raw_sql("SELECT count(*) FROM sqlite_schema").execute(&mut *lease).await?;
        connects.push(started.elapsed());
    }
    let mut lease = pool.acquire().await?;
    let mut pings = Vec::new();
    for _ in 0..PINGS {
        let started = Instant::now();
        sqlx::query("SELECT 1").execute(&mut *lease).await?;
        pings.push(started.elapsed());
    }
    let version: String =
        sqlx::query_scalar("SELECT sqlite_version()").fetch_one(&mut *lease).await?;
    let mut pragma = async |name: &str| -> sqlx::Result<i64> {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA {name}"));
        sqlx::raw_sql(sql).fetch_one(&mut *lease).await?.try_get(0)
    };
    let (page_size, cache_size) = (pragma("page_size").await?, pragma("cache_size").await?);
    let before = memory::own();
    let mut held = Vec::new();
    for _ in 0..SAMPLE {
        let mut lease = pool.acquire().await?;
        sqlx::raw_sql("SELECT count(*) FROM sqlite_schema").execute(&mut *lease).await?;
        held.push(lease);
    }
    let grown = memory::grown(before, memory::own(), SAMPLE);
    Ok(Measured {
        setting: DATABASE,
        server: format!("SQLite {version}"),
        connect: median(connects),
        ping: median(pings),
        cache: Some(cache(page_size, cache_size)),
        client_memory: grown,
        ..Measured::default()
    })
}

/// Returns how much a connection may cache: a negative `cache_size` is in KiB, a positive one in
/// pages.
fn cache(page_size: i64, cache_size: i64) -> Memory {
    let bytes = match cache_size {
        ..0 => cache_size.unsigned_abs().saturating_mul(1024),
        _ => cache_size.unsigned_abs().saturating_mul(page_size.unsigned_abs()),
    };
    Memory { bytes, how: "at most: PRAGMA cache_size" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_in_pages_or_in_kib() {
        assert_eq!(cache(4096, -2000).bytes, 2_048_000);
        assert_eq!(cache(4096, 100).bytes, 409_600);
        assert_eq!(cache(4096, i64::MIN).bytes, u64::MAX);
    }
}
