//! Sets WAL mode before a reader or writer of a pool is lent.
//!
//! WAL mode is set once, after the hooks of the first connection, and only if the database is not
//! in that mode already. The mode is part of the file, so the database stays in it.

use crate::error_class::{not_a_database, read_only};
use futures_util::lock::Mutex;
use sqlx::{Error, Executor, SqliteConnection};
use std::sync::atomic::{AtomicBool, Ordering};

/// The database that a writer and its readers share.
#[derive(Default)]
pub(crate) struct SharedFile {
    /// True if the database is in WAL mode. Locked during the change, so that it happens once.
    ready: Mutex<bool>,
    /// True if nothing can be done before the hooks, which set the database's key.
    locked: AtomicBool,
}

/// With this setting a database in WAL mode stays consistent; the last commits can be lost in a
/// power failure.
const SYNCHRONOUS_NORMAL: &str = "PRAGMA synchronous = NORMAL";

impl SharedFile {
    /// Sets `synchronous` before the hooks, which may set another value.
    pub(crate) async fn set_synchronous_normal(
        &self,
        conn: &mut SqliteConnection,
    ) -> Result<(), Error> {
        match conn.execute(SYNCHRONOUS_NORMAL).await {
            Err(error) if not_a_database(&error) => {
                self.locked.store(true, Ordering::Relaxed);
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }

    /// Records that the database was replaced by another file.
    pub(crate) async fn on_replaced(&self) {
        *self.ready.lock().await = false;
    }

    /// Makes sure that the database exists and is in WAL mode, over a connection that may be a
    /// reader.
    pub(crate) async fn prepare(&self, conn: &mut SqliteConnection) -> Result<(), Error> {
        if self.locked.load(Ordering::Relaxed) {
            conn.execute(SYNCHRONOUS_NORMAL).await?;
        }
        let mut ready = self.ready.lock().await;
        if !*ready {
            ensure_wal(conn).await?;
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
    let mode = match sqlx::query_scalar("PRAGMA journal_mode = WAL").fetch_one(conn).await {
        Ok(mode) => mode,
        // The file may be read-only.
        Err(error) if read_only(&error) => mode,
        Err(error) => return Err(error),
    };
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let message = format!(
        "one writer and many readers need WAL mode, but this database stays in mode {mode}"
    );
    Err(Error::Configuration(message.into()))
}
