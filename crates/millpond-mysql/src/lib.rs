//! MySQL and MariaDB connection pools over sqlx: no open transaction and no session state reaches the next borrower.
//!
//! [`MySqlPool`] is a drop-in for `sqlx::MySqlPool` after a change of imports and construction.
//!
//! ```no_run
//! use millpond_mysql::MySqlPoolOptions;
//!
//! # async fn example() -> Result<(), sqlx::Error> {
//! let pool = MySqlPoolOptions::new().pool_size(10).connect("mysql://miller@localhost/ponds").await?;
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
//! # In step
//!
//! A connection comes back without I/O if all that was done with it were single statements that ran to their end.
//! Otherwise the pool's keeper rolls back and asks the server for a nonce, in one round trip, before the next borrower can
//! get the connection: a raw `BEGIN`, `SET autocommit = 0` and then a SELECT, `LOCK TABLES`, a procedure or a script that
//! left a transaction open, a dropped stream leave nothing behind.
//!
//! A connection on which an operation was dropped half-way is closed, and its borrower can do nothing more with it: the
//! driver cannot find its place in what the server sends after that. It would give one query the answer to another, or
//! panic. (What a `fn(&mut MySqlConnection)` does with it then is not seen and cannot be stopped.) A panic in the borrower
//! closes as well. What the server still executes for it is ended there, so that it burns
//! nothing for nobody: see [`MySqlPoolOptions::cancel_abandoned`].
//!
//! Connections have autocommit on and `completion_type` NO_CHAIN, whatever the server's defaults are and hooks have set.
//!
//! # What is done between two borrowers
//!
//! | [`ResetLevel`] | the next borrower cannot see | costs a borrower |
//! |---|---|---|
//! | `None` | nothing is done, except that what was cut off is closed | nothing |
//! | `Transaction`, the default | an open transaction, table locks, another database, or answers to what somebody else asked | clean: nothing; in doubt: 0.1 ms |
//! | `Session` | anything: every connection is closed on return; see [`MySqlManager::with_reset`] | 0.2 to 0.5 ms |
//! | `Replace` | the same | the same |
//!
//! The times are those of `examples/mysql_reset_cost.rs` with a server on the same machine, which did other things as well. With a
//! server elsewhere a proof is one round trip more, and a new connection at least four, or five with TLS.
//!
//! # What differs from `sqlx::MySqlPool`
//!
//! - A pool is made by [`MySqlPoolOptions`]: `pool_size` and `max_overflow` for `max_connections`, `pool_timeout` for
//!   `acquire_timeout`, `pool_recycle` for `max_lifetime`, `pool_pre_ping` for `test_before_acquire`, `on_connect`,
//!   `on_checkout`, `on_checkin` for `after_connect`, `before_acquire`, `after_release`. `MySqlPool::connect(url)` is
//!   `MySqlPoolOptions::new().connect(url)`.
//! - [`Transaction`] and [`SqlLease`] are named instead of `sqlx::Transaction` and `PoolConnection`. `Acquire::begin(&pool)`
//!   is an error that says what to write: see [`SqlPool`].
//! - A connection on which an operation was dropped half-way cannot be used on by its borrower; sqlx lets him, and what he
//!   gets may be the answer to something else.
//! - `USE` lasts until the connection comes back. Statements that were prepared elsewhere are forgotten then.
//! - Unknown and contradictory parameters of a URL are errors. `MySqlConnectOptions` that sqlx has parsed are taken as they are.
//! - A timeout is `Error::Io` of kind `TimedOut`, not `PoolTimedOut`: see [`pool_error`].
//! - `close` waits for at most 30 s. There is no `try_begin`, `close_event`, `options`, `connect_options` and
//!   `set_connect_options`; for a changing password there are [`Credentials`].
//!
//! `#[sqlx::test]` feeds a pool by the form with options: `async fn test(_: PoolOptions<MySql>, options:
//! MySqlConnectOptions)` and `MySqlPoolOptions::new().connect_with(options)`.
//!
//! # TLS
//!
//! rustls, with the system's certificates. `sslmode` is sqlx's `preferred` unless the URL says otherwise, and that goes on
//! in the clear with a server that has no TLS: write `sslmode=verify-identity`, or `ssl_ca=..`, where it matters.
//!
//! Without TLS, MySQL's `caching_sha2_password` and `sha256_password` need sqlx's feature `mysql-rsa`, which you turn on in
//! your own manifest; with TLS they need nothing.

mod backend;
mod fault;
mod first_look;
mod kill;
mod manager;
mod options;
mod prove;
mod url;

pub use backend::MySqlBackend;
pub use manager::MySqlManager;
pub use millpond_core::{
    CloseReport, ConnectionInfo, Handle, Hooks, Invalidate, Limits, PoolConfig, PoolError, ResetLevel, Status,
};
pub use millpond_sqlx::{
    Credentials, Login, RawLease, SqlLease, SqlPool, Standing, Tracked, Transaction, UrlError, UrlProblem, pool_error,
};
pub use options::{MySqlPool, MySqlPoolOptions, PoolKind};
pub use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
pub use sqlx::{MySql, MySqlConnection};
