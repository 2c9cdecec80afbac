//! SQLite: one row of a thousand by its key, from a file in WAL mode.

use crate::service::{Service, Turn};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{ConnectOptions, SqlitePool};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const QUESTION: &str = "SELECT name FROM ponds WHERE id = $1";
const ROWS: i64 = 1_000;

/// Returns another key each time.
fn key() -> i64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    (NEXT.fetch_add(1, Ordering::Relaxed) % ROWS as u64) as i64
}

fn options(path: &str) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
}

/// Creates the file.
///
/// # Panics
///
/// If the file cannot be written.
pub async fn fill(path: &Path) {
    let mut conn = options(path.to_str().expect("a path of text")).connect().await.expect("a file");
    let sql = "CREATE TABLE ponds (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
        INSERT INTO ponds SELECT i, 'pond ' || i FROM n";
    sqlx::raw_sql(sql).execute(&mut conn).await.expect("a table");
}

/// millpond: one writer and ten readers.
#[derive(Clone, Debug)]
pub struct Millpond(millpond_sqlite::SqlitePool);

impl Service for Millpond {
    const NAME: &'static str = "millpond";

    async fn open(path: &str, connections: u32) -> Self {
        let options = millpond_sqlite::SqlitePoolOptions::new()
            .pool(millpond_sqlite::PoolKind::ReadWrite)
            .pool_size(connections)
            .max_overflow(0);
        Self(options.connect(&format!("sqlite:///{path}")).await.expect("the file is there"))
    }

    async fn ask(&self, _: usize, _: Turn) {
        let _: String =
            sqlx::query_scalar(QUESTION).bind(key()).fetch_one(&self.0).await.expect("a row");
    }

    async fn close(self) {
        self.0.close().await;
    }
}

/// `sqlx::Pool` with default settings.
#[derive(Clone, Debug)]
pub struct Sqlx(SqlitePool);

impl Service for Sqlx {
    const NAME: &'static str = "sqlx";

    async fn open(path: &str, connections: u32) -> Self {
        let builder = SqlitePoolOptions::new().max_connections(connections);
        Self(builder.connect_with(options(path)).await.expect("the file is there"))
    }

    async fn ask(&self, _: usize, _: Turn) {
        let _: String =
            sqlx::query_scalar(QUESTION).bind(key()).fetch_one(&self.0).await.expect("a row");
    }

    async fn close(self) {
        self.0.close().await;
    }
}
