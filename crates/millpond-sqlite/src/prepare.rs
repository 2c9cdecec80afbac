//! Brings a database into WAL mode before the first reader or writer of a pool opens it.
//!
//! Changing the journal mode needs a lock for which `busy_timeout` does not wait, so it is done once, by one connection, and
//! only if the database is not in WAL mode already. It stays in that mode: the mode is part of the file.

use futures_util::lock::Mutex;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, Error, SqliteConnection};

/// The database that a writer and its readers share.
pub(crate) struct Ground {
    /// How the one opens it who may write.
    options: SqliteConnectOptions,
    /// Whether it is in WAL mode. Locked across the change, so that it is made once.
    ready: Mutex<bool>,
}

impl Ground {
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, ready: Mutex::new(false) }
    }

    /// Makes sure that the database exists and is in WAL mode.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        let mut ready = self.ready.lock().await;
        if !*ready {
            let mut conn = self.options.connect().await?;
            ensure_wal(&mut conn).await?;
            conn.close().await?;
            *ready = true;
        }
        Ok(())
    }
}

async fn ensure_wal(conn: &mut SqliteConnection) -> Result<(), Error> {
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *conn).await?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(conn).await?;
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let message = format!("one writer and many readers need WAL mode, but this database stays in mode {mode}");
    Err(Error::Configuration(message.into()))
}
