//! The backend's types and helpers, under the names that the tests shared by all backends use.

pub use millpond_sqlite::{Sqlite as Db, SqlitePool as Pool, SqlitePoolOptions as Options};
pub use sqlx::sqlite::SqliteRow as Row;
pub use sqlx::{SqliteConnection as Connection, SqliteExecutor as DbExecutor};
