//! The backend by the names that the tests have for it which all backends share.

pub use millpond_sqlite::{Sqlite as Db, SqlitePool as Pool};
pub use sqlx::sqlite::SqliteRow as Row;
pub use sqlx::{SqliteConnection as Connection, SqliteExecutor as DbExecutor};
