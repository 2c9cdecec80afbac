//! MySQL and MariaDB connection pools over sqlx: no open transaction and no session state reaches
//! the next borrower.
//!
//! [`MySqlPool`] is a drop-in for `sqlx::MySqlPool` after a change of imports and construction.
//!
//! ```no_run
//! use millpond_mysql::MySqlPoolOptions;
//!
//! # async fn example() -> Result<(), sqlx::Error> {
//! let options = MySqlPoolOptions::new().pool_size(10);
//! let pool = options.connect("mysql://miller@localhost/ponds").await?;
//!
//! let mut tx = pool.begin().await?;
//! sqlx::query("INSERT INTO ponds (name) VALUES (?)").bind("mill").execute(&mut *tx).await?;
//! tx.commit().await?;
//!
//! let names: Vec<String> = sqlx::query_scalar("SELECT name FROM ponds").fetch_all(&pool).await?;
//! pool.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Sync state
//!
//! A connection is returned without I/O if only single statements were executed on it and all
//! completed. Otherwise the pool's maintenance task rolls back and queries a nonce, in one round
//! trip, before the connection is lent again: so a raw `BEGIN`, `SET autocommit = 0` followed by a
//! SELECT, `LOCK TABLES`, a procedure or a script that left a transaction open, or a dropped stream
//! leave nothing behind.
//!
//! A connection on which an operation was dropped is closed, and its borrower cannot use it any
//! more: the driver has lost its position in the server's answers, and would return the answer to
//! another query, or panic. (A `fn(&mut MySqlConnection)` that uses it then is not tracked and
//! cannot be stopped.) A panic in the borrower closes the connection as well. The session is ended
//! at the server, so that it does not waste server time: see
//! [`MySqlPoolOptions::cancel_abandoned`].
//!
//! Connections have autocommit enabled and `completion_type` NO_CHAIN, regardless of the server's
//! defaults and of hooks.
//!
//! # Reset between two borrowers
//!
//! | [`ResetLevel`] | the next borrower cannot see | cost per return |
//! |---|---|---|
//! | `None` | nothing is reset, but an interrupted connection is closed | nothing |
//! | `Transaction`, the default | an open transaction, table locks, another database, or answers to another borrower's statements | clean: nothing; in doubt: 0.03 ms |
//! | `Session` | anything: every connection is closed on return; see [`MySqlManager::with_reset`] | 0.5 ms |
//! | `Replace` | as `Session` | as `Session` |
//!
//! The times are those of `examples/mysql_reset_cost.rs` with a server on the same machine. With a
//! remote server a verification is one more round trip, and a new connection at least four, or five
//! with TLS.
//!
//! ```sh
//! cargo xtask servers mariadb -- cargo run --release -p millpond-mysql --example mysql_reset_cost
//! ```
//!
//! # What differs from `sqlx::MySqlPool`
//!
//! Queries, streams, `query!` and related macros, `migrate!().run(&pool)`, `&mut *conn`, `&mut
//! *tx`, savepoints, generic code over `Executor` and `MySqlExecutor`, and `#[sqlx::test]`
//! functions that take `MySqlConnectOptions` need no change. The following do; a star marks changes
//! that the compiler does not find:
//!
//! | with sqlx | here |
//! |---|---|
//! | `MySqlPool::connect(url)`, `connect_with`, `connect_lazy`, `connect_lazy_with` | `MySqlPoolOptions::new().connect(url)`, ..; the last one returns a `Result` too |
//! | `max_connections(n)` | `pool_size(n).max_overflow(0)`: up to `pool_size` connections are kept, and up to `max_overflow` (default 20) more may be opened |
//! | `min_connections`, `acquire_timeout`, `max_lifetime` (30 min), `test_before_acquire` (always) | `min_idle`, `pool_timeout`, `pool_recycle` (1 h), `pool_pre_ping` (after 500 ms without use); sqlx's names compile too, with a warning |
//! | * `idle_timeout`, by default 10 min | the same name, by default off |
//! | `after_connect`, `before_acquire`, `after_release` | `on_connect`, `on_checkout`, `on_checkin`: an `Err` refuses the connection, where sqlx wants `Ok(false)` |
//! | `acquire_slow_threshold` and related methods | an observer: every acquire is reported with its duration |
//! | `close_event()` | `pool.sqlx()?.close_event()` |
//! | `parent`, `get_max_connections` and related methods, `options()`, `connect_options()`, `try_begin_with()` | not offered |
//! | `set_connect_options` | [`MySqlPoolOptions::credentials`] for a password that changes, else a new pool |
//! | `sqlx::Pool<MySql>`, `sqlx::Transaction<'_, MySql>`, `PoolConnection<MySql>` in signatures | [`MySqlPool`], [`Transaction`], [`SqlLease`] |
//! | crates that take a `&sqlx::MySqlPool`: session stores, job queues | [`pool.sqlx()?`](SqlPool::sqlx), with [`sqlx_connections`](MySqlPoolOptions::sqlx_connections) |
//! | `conn.close_on_drop()`; `leak()`; `return_to_pool()` | `SqlLease::discard(conn)` or `conn.close()`; none; `drop(conn)` |
//! | * `pool.begin()` through `Acquire`, in generic code | sqlx's own transaction, whose use is not tracked: see [`SqlPool`] |
//! | * `Error::PoolTimedOut` | `Error::Io` of kind `TimedOut` with the reason, which [`pool_error`] extracts; with [`sqlx_timeouts(true)`](MySqlPoolOptions::sqlx_timeouts) the same |
//! | * `close()` waits for every borrower | for 30 s at most; `close_within` reports the remaining holders |
//! | `#[sqlx::test]` functions that take a pool | take the options: `(_: sqlx::pool::PoolOptions<MySql>, options: MySqlConnectOptions)` |
//! | * a connection on which an operation was dropped can still be used, and may return answers to other statements | its borrower gets an error that says to acquire another one |
//! | * `try_acquire()` right after a lease whose driver connection was used directly | `None` until that connection is verified, a round trip later |
//! | * a dropped query continues at the server | its session is [ended](MySqlPoolOptions::cancel_abandoned) |
//! | * `USE` lasts as long as the connection | until it is returned; statements that were prepared in another database are then dropped |
//! | * an unknown or contradictory URL parameter is ignored | it is an error; options that sqlx has parsed are used as they are |
//!
//! One limitation remains: migrations take a session lock, which sqlx releases only on success.
//! After an error of `migrate!().run(&mut conn)`, or when it was dropped, call
//! `SqlLease::discard(conn)`; after `run(&pool)` the connection is returned with the lock. (The
//! facade's `DatabaseConnection` handles this.)
//!
//! # TLS
//!
//! rustls, with the system's certificates. `sslmode` defaults to sqlx's `preferred`, which falls
//! back to an unencrypted connection if the server has no TLS: set `sslmode=verify-identity` or
//! `ssl_ca=..` where it matters.
//!
//! Without TLS, MySQL's `caching_sha2_password` and `sha256_password` need sqlx's feature
//! `mysql-rsa`, which you enable in your own manifest; with TLS they do not. Over a Unix socket
//! without TLS the driver cannot send such a password, and the server reports `Access denied`; if
//! MySQL has a certificate, as it has by default, the socket has TLS.

mod backend;
mod dialer;
mod error_class;
mod in_transaction;
mod kill;
mod manager;
mod options;
mod server_info;
mod stand_in;
mod url;
mod verify;

pub use backend::MySqlBackend;
pub use manager::MySqlManager;
pub use millpond_core::{
    CloseReport, ConnectionInfo, Handle, Hooks, Invalidate, Limits, PoolConfig, PoolError,
    PoolKind, RequestRefusal, ResetLevel, Status,
};
pub use millpond_sqlx::backend_api::{UrlError, UrlProblem};
pub use millpond_sqlx::{
    Credentials, Login, RawLease, SqlLease, SqlPool, SyncState, Tracked, Transaction,
    TransactionLost, TransactionOutcome, pool_error, transaction_lost,
};
pub use options::{MySqlPool, MySqlPoolOptions};
pub use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
pub use sqlx::{MySql, MySqlConnection};
