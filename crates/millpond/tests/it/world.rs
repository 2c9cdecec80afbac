//! What the tests need: a database in memory, and a directory that goes away.

use millpond::DatabaseConnection;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// An empty database in memory.
pub async fn memory() -> DatabaseConnection {
    DatabaseConnection::connect("sqlite::memory:").await.unwrap()
}

/// A database in memory with `users(id, name)` and some of them.
pub async fn users(names: &[&str]) -> DatabaseConnection {
    let db = memory().await;
    sqlx::query("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)").execute(&db).await.unwrap();
    for name in names {
        sqlx::query("INSERT INTO users (name) VALUES ($1)").bind(*name).execute(&db).await.unwrap();
    }
    db
}

/// The names of all users, in order.
pub async fn names(db: &DatabaseConnection) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM users ORDER BY id").fetch_all(db).await.unwrap()
}

/// A directory of one test; removed when dropped.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("millpond-facade-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A URL of a database file in here, as SQLAlchemy writes an absolute path.
    pub fn url(&self, file: &str) -> String {
        format!("sqlite:///{}", self.0.join(file).to_str().unwrap())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
