//! Checks of a pool's first connection to a file, since SQLite opens almost anything without an
//! error.
//! The file itself is never opened here: when a process closes a file, it loses the locks that
//! SQLite holds on it.

use crate::error_class::not_a_database;
use sqlx::{Error, Row, SqliteConnection};
use std::fs;
use std::path::Path;

/// Refuses an in-memory or temporary database that its options did not reveal: every connection
/// would have its own. Reads nothing from the file, since a hook may have to run first.
pub(crate) async fn has_file(conn: &mut SqliteConnection) -> Result<(), Error> {
    for row in sqlx::raw_sql("PRAGMA database_list").fetch_all(conn).await? {
        if row.try_get::<String, _>(1)? == "main"
            && row.try_get::<Option<String>, _>(2)?.is_some_and(|f| !f.is_empty())
        {
            return Ok(());
        }
    }
    let message = "these options name an in-memory or temporary database, of which every \
        connection would have its own: connect to \"sqlite::memory:\" for a pool that keeps it";
    Err(Error::Configuration(message.into()))
}

/// Refuses devices, pipes and sockets, which keep no data. SQLite opens `/dev/null` as an empty
/// database.
pub(crate) fn refuse_device(file: &Path) -> Result<(), Error> {
    match fs::metadata(file) {
        Ok(found) if !found.is_file() && !found.is_dir() => Err(Error::Configuration(
            format!("{} is not a regular file, so it cannot hold a database", file.display())
                .into(),
        )),
        _ => Ok(()),
    }
}

/// Refuses a file that is not a database, or whose key is wrong.
pub(crate) async fn is_database(conn: &mut SqliteConnection) -> Result<(), Error> {
    match sqlx::raw_sql("PRAGMA schema_version").execute(conn).await {
        Err(error) if not_a_database(&error) => Err(error),
        // Every other error is reported by the first real read.
        _ => Ok(()),
    }
}
