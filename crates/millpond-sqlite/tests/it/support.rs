//! A directory for database files, and helpers to build pools.

use futures_util::TryStreamExt;
use millpond_sqlite::{PoolKind, Sqlite, SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use millpond_testkit::poll_n;
use sqlx::Executor;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A query that runs until it is interrupted.
pub const ENDLESS: &str =
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n";

/// Starts a query that never ends, and drops it while it runs.
pub async fn abandon_endless<'e>(executor: impl Executor<'e, Database = Sqlite>) {
    // The first row shows that the query has begun; the second row would take forever.
    const SQL: &str = "SELECT 1 UNION ALL SELECT COUNT(*) FROM \
                       (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) \
                       SELECT x FROM n)";
    let mut rows = executor.fetch(SQL);
    assert!(rows.try_next().await.unwrap().is_some());
    assert!(poll_n(rows.try_next(), 1).await.is_none(), "it has not ended");
}

/// A directory that is removed on drop.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        let name = format!("millpond-sqlite-{:x}", fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the URL of a file in the directory.
    pub fn url(&self, file: &str) -> String {
        format!("sqlite:///{}", self.0.join(file).display())
    }

    pub fn options(&self, file: &str) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(self.0.join(file)).create_if_missing(true)
    }

    /// Builds a pool that keeps one connection.
    pub async fn one(&self) -> SqlitePool {
        one().connect(&self.url("one.db")).await.unwrap()
    }

    /// Builds a pool of one writer and three readers, with a table `t` of one integer column `i`.
    pub async fn read_write(&self) -> SqlitePool {
        let options = SqlitePoolOptions::new().pool(PoolKind::ReadWrite).pool_size(3);
        let pool = options.connect(&self.url("rw.db")).await.unwrap();
        sqlx::query("CREATE TABLE IF NOT EXISTS t (i INTEGER)").execute(&pool).await.unwrap();
        pool
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Returns the URL of the database for the tests that all backends share.
pub fn url_of_a_database() -> Option<String> {
    Some("sqlite::memory:".to_owned())
}

/// Returns options of a pool that keeps one connection, with enough time for a ping on a busy
/// machine.
pub fn one() -> SqlitePoolOptions {
    let options = SqlitePoolOptions::new().pool(PoolKind::Queue).pool_size(1).max_overflow(0);
    options.ping_timeout(Duration::from_secs(5))
}
