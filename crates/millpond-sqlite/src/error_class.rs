//! Classifies SQLite's result codes, for the connection and for the pool.

use millpond_core::ErrorClass;
use millpond_sqlx::backend_api::ErrorImpact;
use sqlx::Error;

/// Primary result codes; see <https://www.sqlite.org/rescode.html>.
const ERROR: i32 = 1;
const PERM: i32 = 3;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const MISUSE: i32 = 21;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;

/// Classifies an error of `connect`, of its hooks or of `ping` for the pool.
pub(crate) fn classify(error: &Error) -> ErrorClass {
    match error {
        Error::Configuration(_) | Error::InvalidArgument(_) => ErrorClass::Permanent,
        Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed => ErrorClass::Connection,
        _ => match primary_code(error) {
            Some(CANTOPEN | NOTADB | PERM | AUTH | READONLY | CORRUPT) => ErrorClass::Permanent,
            // Invalid SQL in a hook stays invalid.
            Some(ERROR | MISUSE | CONSTRAINT) => ErrorClass::Permanent,
            // BUSY and LOCKED are transient, and so may be everything unknown.
            _ => ErrorClass::Transient,
        },
    }
}

/// Returns what a statement's error means for its connection.
pub(crate) fn error_impact(error: &Error) -> ErrorImpact {
    match error {
        Error::Database(_) => match primary_code(error) {
            Some(IOERR) => ErrorImpact::Broken,
            // The error may concern a single index, or an attached file. If it concerns the whole
            // file, reading the settings back fails.
            Some(CORRUPT | NOTADB) => ErrorImpact::Doubt,
            _ => ErrorImpact::InSync,
        },
        Error::Io(_) | Error::Protocol(_) | Error::WorkerCrashed => ErrorImpact::Broken,
        _ => ErrorImpact::Doubt,
    }
}

/// Returns true if the file could not be opened, for a reason that the file system may show.
pub(crate) fn cannot_open(error: &Error) -> bool {
    primary_code(error) == Some(CANTOPEN)
}

/// Returns true if the file is not a database.
pub(crate) fn not_a_database(error: &Error) -> bool {
    primary_code(error) == Some(NOTADB)
}

/// Returns true if a statement was refused because the file is read-only.
pub(crate) fn read_only(error: &Error) -> bool {
    primary_code(error) == Some(READONLY)
}

/// Returns true if a statement was refused because a transaction is open.
pub(crate) fn is_inside_a_transaction(error: &Error) -> bool {
    let says_so = |message: &str| message.contains("inside a transaction");
    primary_code(error) == Some(ERROR)
        && error.as_database_error().is_some_and(|error| says_so(error.message()))
}

/// Returns the primary code of an extended one: 517 (BUSY_SNAPSHOT) is a 5 (BUSY).
fn primary_code(error: &Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::{Connection, SqliteConnection, raw_sql};

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_permanent() {
        let error =
            SqliteConnection::connect("sqlite:///no/such/directory/x.db").await.unwrap_err();
        assert_eq!(classify(&error), ErrorClass::Permanent);
    }

    #[tokio::test]
    async fn a_violated_constraint_leaves_the_connection_in_sync() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let sql = "CREATE TABLE t (i UNIQUE); INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)";
        let error = raw_sql(sql).execute(&mut conn).await.unwrap_err();
        assert_eq!(error_impact(&error), ErrorImpact::InSync);
        assert_eq!(
            classify(&error),
            ErrorClass::Permanent,
            "a hook that violates it will do so again"
        );
    }

    #[tokio::test]
    async fn wrong_sql_is_permanent_and_a_lock_is_not() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let error = raw_sql("PRAGM foreign_keys = ON").execute(&mut conn).await.unwrap_err();
        assert_eq!(classify(&error), ErrorClass::Permanent);

        let path =
            std::env::temp_dir().join(format!("millpond-sqlite-lock-{}.db", std::process::id()));
        let options =
            sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let options = options.busy_timeout(std::time::Duration::ZERO);
        let mut first = SqliteConnection::connect_with(&options).await.unwrap();
        let mut second = SqliteConnection::connect_with(&options).await.unwrap();
        raw_sql("BEGIN EXCLUSIVE").execute(&mut first).await.unwrap();
        let error = raw_sql("BEGIN EXCLUSIVE").execute(&mut second).await.unwrap_err();
        std::fs::remove_file(path).unwrap();
        assert_eq!(classify(&error), ErrorClass::Transient);
    }

    #[test]
    fn an_error_of_the_driver_itself_concerns_the_connection() {
        assert_eq!(classify(&Error::WorkerCrashed), ErrorClass::Connection);
        assert_eq!(error_impact(&Error::WorkerCrashed), ErrorImpact::Broken);
        assert_eq!(error_impact(&Error::BeginFailed), ErrorImpact::Doubt);
    }

    #[test]
    fn a_wrong_setting_is_permanent() {
        assert_eq!(classify(&Error::Configuration("x".into())), ErrorClass::Permanent);
    }
}
