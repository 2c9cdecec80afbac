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
//! # In step
//!
//! A connection comes back without I/O if all that was done with it were single statements that ran
//! to their end. Otherwise the pool's maintenance task rolls back and asks the server for a nonce,
//! in one round trip, before the next borrower can get the connection: a raw `BEGIN`, `SET
//! autocommit = 0` and then a SELECT, `LOCK TABLES`, a procedure or a script that left a
//! transaction open, a dropped stream leave nothing behind.
//!
//! A connection on which an operation was dropped half-way is closed, and its borrower can do
//! nothing more with it: the driver cannot find its place in what the server sends after that. It
//! would give one query the answer to another, or panic. (What a `fn(&mut MySqlConnection)` does
//! with it then is not seen and cannot be stopped.) A panic in the borrower closes as well. What
//! the server still executes for it is ended there, so that it burns nothing for nobody: see
//! [`MySqlPoolOptions::cancel_abandoned`].
//!
//! Connections have autocommit on and `completion_type` NO_CHAIN, whatever the server's defaults
//! are and hooks have set.
//!
//! # What is done between two borrowers
//!
//! | [`ResetLevel`] | the next borrower cannot see | costs a borrower |
//! |---|---|---|
//! | `None` | nothing is done, except that what was cut off is closed | nothing |
//! | `Transaction`, the default | an open transaction, table locks, another database, or answers to what somebody else asked | clean: nothing; in doubt: 0.03 ms |
//! | `Session` | anything: every connection is closed on return; see [`MySqlManager::with_reset`] | 0.5 ms |
//! | `Replace` | the same | the same |
//!
//! The times are those of `examples/mysql_reset_cost.rs` with a server on the same machine. With a
//! server elsewhere a proof is one round trip more, and a new connection at least four, or five
//! with TLS.
//!
//! ```sh
//! cargo xtask servers mariadb -- cargo run --release -p millpond-mysql --example mysql_reset_cost
//! ```
//!
//! # What differs from `sqlx::MySqlPool`
//!
//! Queries, streams, `query!` and its sisters, `migrate!().run(&pool)`, `&mut *conn`, `&mut *tx`,
//! savepoints, generic code over `Executor` and `MySqlExecutor`, and `#[sqlx::test]` functions that
//! take `MySqlConnectOptions` stay as they are. These change; a star marks what the compiler does
//! not find:
//!
//! | with sqlx | here |
//! |---|---|
//! | `MySqlPool::connect(url)`, `connect_with`, `connect_lazy`, `connect_lazy_with` | `MySqlPoolOptions::new().connect(url)`, ..; the last one returns a `Result` too |
//! | `max_connections(n)` | `pool_size(n).max_overflow(0)`: `pool_size` is kept, and `max_overflow`, 20 by default, may be opened beyond it |
//! | `min_connections`, `acquire_timeout`, `max_lifetime` (30 min), `test_before_acquire` (always) | `min_idle`, `pool_timeout`, `pool_recycle` (1 h), `pool_pre_ping` (after 500 ms without use) |
//! | * `idle_timeout`, by default 10 min | the same name, by default off |
//! | `after_connect`, `before_acquire`, `after_release` | `on_connect`, `on_checkout`, `on_checkin`: an `Err` refuses the connection, where sqlx wants `Ok(false)` |
//! | `acquire_slow_threshold` and its sisters | an observer: every acquire is reported with how long it took |
//! | `parent`, `get_max_connections` and its sisters, `options()`, `connect_options()`, `close_event()`, `try_begin()`, `try_begin_with()` | not offered |
//! | `set_connect_options` | [`MySqlPoolOptions::credentials`] for a password that changes, else a new pool |
//! | `sqlx::Pool<MySql>`, `sqlx::Transaction<'_, MySql>`, `PoolConnection<MySql>` in signatures | [`MySqlPool`], [`Transaction`], [`SqlLease`] |
//! | crates that take a `&sqlx::MySqlPool`: session stores, job queues | they need a pool of sqlx's |
//! | `conn.detach()`, `leak()`; `close()`, `close_on_drop()`; `return_to_pool()` | `SqlLease::detach(conn)`; `SqlLease::discard(conn)`; `drop(conn)` |
//! | * `pool.begin()` through `Acquire`, in code that is generic | begins on a connection: see [`SqlPool`] |
//! | * `Error::PoolTimedOut` | `Error::Io` of kind `TimedOut`, which says why; [`pool_error`] reads it |
//! | * `close()` waits for every borrower | for 30 s at most; `close_within` reports who is left |
//! | `#[sqlx::test]` functions that take a pool | take the options: `(_: sqlx::pool::PoolOptions<MySql>, options: MySqlConnectOptions)` |
//! | * a connection on which something was dropped half-way can be used on, and may give the answer to something else | its borrower gets an error that says to acquire another one |
//! | * `try_acquire()` right after a lease was used by the driver's own means | `None` until that connection is verified, a round trip later |
//! | * a query that was dropped runs on at the server | its session is [ended](MySqlPoolOptions::cancel_abandoned) |
//! | * `USE` lasts for as long as the connection | until it comes back; statements that were prepared elsewhere are forgotten then |
//! | * an unknown or contradictory parameter of a URL is ignored | it is an error; options that sqlx has parsed are taken as they are |
//!
//! One thing stays that may surprise: migrations lock out other migrators for the session, which
//! sqlx takes back at a good end only. After an error of `migrate!().run(&mut conn)`, or when it
//! was dropped, call `SqlLease::discard(conn)`; from a pool that gets `run(&pool)` its connection
//! goes back with the lock. (The facade's `DatabaseConnection` sees to it.)
//!
//! # TLS
//!
//! rustls, with the system's certificates. `sslmode` is sqlx's `preferred` unless the URL says
//! otherwise, and that goes on in the clear with a server that has no TLS: write
//! `sslmode=verify-identity`, or `ssl_ca=..`, where it matters.
//!
//! Without TLS, MySQL's `caching_sha2_password` and `sha256_password` need sqlx's feature
//! `mysql-rsa`, which you turn on in your own manifest; with TLS they need nothing. Over a unix
//! socket without TLS the driver cannot send such a password at all, and the server says `Access
//! denied`; where MySQL has a certificate, as it has by default, the socket has TLS.

mod backend;
mod dialer;
mod error_class;
mod in_transaction;
mod kill;
mod manager;
mod options;
mod server_info;
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
