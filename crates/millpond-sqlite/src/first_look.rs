//! What the first connection of a pool to a file is looked at for, since SQLite opens almost anything without a word.

use crate::fault::not_a_database;
use sqlx::{Error, SqliteConnection};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// With what every SQLite database begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Refuses what is no file, and a file that is no database.
pub(crate) async fn first_look(conn: &mut SqliteConnection, path: &Path) -> Result<(), Error> {
    has_file(conn).await?;
    if begins_otherwise(path) { is_database(conn).await } else { Ok(()) }
}

/// Refuses a database in memory that its options do not show to be one: every connection would have its own.
async fn has_file(conn: &mut SqliteConnection) -> Result<(), Error> {
    let file: Option<String> =
        sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'").fetch_one(conn).await?;
    if file.is_none_or(|file| file.is_empty()) {
        let message = "these options name a database in memory or a temporary one, of which every connection would have \
                       its own: connect to \"sqlite::memory:\" for a pool that keeps it";
        return Err(Error::Configuration(message.into()));
    }
    Ok(())
}

/// Asks SQLite what it makes of a file that does not begin like a database.
async fn is_database(conn: &mut SqliteConnection) -> Result<(), Error> {
    let cipher: Option<String> = sqlx::query_scalar("PRAGMA cipher_version").fetch_optional(&mut *conn).await?;
    if cipher.is_some() {
        // An encrypted database looks like this, and a hook may have its key.
        return Ok(());
    }
    match sqlx::raw_sql("PRAGMA schema_version").execute(conn).await {
        Err(error) if not_a_database(&error) => Err(error),
        // Everything else is told to whoever really reads.
        _ => Ok(()),
    }
}

/// Whether there is something in the file, and it is not the beginning of a database. A file that cannot be looked at is
/// left to SQLite.
fn begins_otherwise(path: &Path) -> bool {
    // Opening a pipe would wait for its other end.
    if !fs::metadata(path).is_ok_and(|found| found.is_file()) {
        return false;
    }
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut beginning));
    read.is_ok_and(|length| length > 0) && beginning != MAGIC
}
