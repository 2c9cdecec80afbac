//! SQLite connection pools over sqlx: one writer and many readers, pragma hooks, and no transaction
//! or pragma that reaches the next borrower.
//!
//! [`SqlitePool`] replaces `sqlx::SqlitePool`; only imports and construction change.
//!
//! ```
//! use millpond_sqlite::SqlitePoolOptions;
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let pool = SqlitePoolOptions::new().connect("sqlite::memory:").await?;
//! sqlx::query("CREATE TABLE ponds (name TEXT)").execute(&pool).await?;
//!
//! let mut tx = pool.begin().await?;
//! sqlx::query("INSERT INTO ponds VALUES (?)").bind("mill").execute(&mut *tx).await?;
//! tx.commit().await?;
//!
//! let name: String = sqlx::query_scalar("SELECT name FROM ponds").fetch_one(&pool).await?;
//! assert_eq!(name, "mill");
//! pool.close().await;
//! # Ok::<(), sqlx::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Which pool
//!
//! | database | kind | what it does |
//! |---|---|---|
//! | file | [`PoolKind::Null`], the default | opens a connection for every borrower, keeps none; respects the limit, the queue and the deadline |
//! | file | [`PoolKind::Queue`] | keeps `pool_size` connections |
//! | file | [`PoolKind::ReadWrite`] | one writer, `pool_size` readers: no `database is locked` within the pool, and the fastest under mixed load |
//! | `:memory:` | always one connection | kept until the pool is closed, whatever a borrower does: it *is* the database |
//!
//! # What the pool adds to SQLite
//!
//! - A dropped query is interrupted. With sqlx alone it continues, and the next query waits for it.
//! - A connection is returned without I/O if only single statements were executed on it and all
//!   completed. Otherwise it is verified to be outside a transaction, or rolled back, before it is
//!   lent again.
//! - [`PragmaHook`] checks names and values, and reads every pragma back: SQLite ignores unknown
//!   ones.
//! - Pragmas that a borrower changes are restored before the connection is lent again. The results
//!   of `last_insert_rowid()`, `changes()` and `total_changes()` are not reset: query them on the
//!   lease that wrote.
//! - `SELECT *` and `RETURNING *` return the table's current columns, even if another connection
//!   has altered the table: such a statement queries the schema's version before and after. A
//!   statement that names its columns does not need that.
//! - If a file is replaced or removed under a pool that keeps connections, the next checkout fails.
//!   The new file is opened once all connections to the old one are closed and no write-ahead log
//!   of the old one is left. (Not on Windows, where an open file cannot be replaced.)
//! - URLs have the forms of SQLAlchemy; see [`SqlitePoolOptions::connect`].

mod backend;
mod baseline;
mod error_class;
mod file_check;
mod files;
mod in_memory;
mod interrupt;
mod manager;
mod only_reads;
mod open_error;
mod options;
mod parameter_zero;
mod pragma;
mod pragma_table;
mod pragma_value;
mod role;
mod schema;
mod setup_hook;
mod url;
mod verify;
mod wal_mode;

pub use backend::SqliteBackend;
pub use manager::SqliteManager;
pub use millpond_core::{
    AcquireFailure, BoxError, CloseReason, CloseReport, ConfigError, ConnectInfo, ConnectionId,
    ConnectionInfo, DEFAULT_CLOSE_TIMEOUT, ErrorClass, Event, EventContext, Handle, Holder,
    HookFuture, HookPoint, HookPoints, Hooks, Invalidate, Lease, Limits, Manager, NullPool,
    Observer, Phase, Pool, PoolConfig, PoolError, PoolKind, QueuePool, RequestRefusal, ResetLevel,
    SharedError, Status, TimedOut, Triage, async_trait,
};
pub use millpond_sqlx::{
    RawLease, SqlLease, SqlPool, SyncState, Tracked, Transaction, TransactionLost,
    TransactionOutcome, pool_error, transaction_lost,
};
pub use only_reads::only_reads;
pub use options::{SqlitePool, SqlitePoolOptions};
pub use pragma::{PragmaHook, TempStore};
pub use pragma_value::{PragmaError, PragmaValue};
pub use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
pub use sqlx::{Sqlite, SqliteConnection};
pub use url::SqliteUrlError;
