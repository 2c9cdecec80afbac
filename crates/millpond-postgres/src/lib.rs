//! PostgreSQL connection pools over sqlx: no open transaction and no session state reaches the next
//! borrower.
//!
//! [`PgPool`] is a drop-in for `sqlx::PgPool` after a change of imports and construction.
//!
//! ```no_run
//! use millpond_postgres::PgPoolOptions;
//!
//! # async fn example() -> Result<(), sqlx::Error> {
//! let options = PgPoolOptions::new().pool_size(10);
//! let pool = options.connect("postgres://miller@localhost/ponds").await?;
//!
//! let mut tx = pool.begin().await?;
//! sqlx::query("INSERT INTO ponds (name) VALUES ($1)").bind("mill").execute(&mut *tx).await?;
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
//! completed. Otherwise the pool's maintenance task queries a nonce and whether a transaction is
//! open, in one round trip, before the connection is lent again: so a raw `BEGIN`, a cancelled
//! `begin()`, a script that failed midway, a dropped stream or a panic leave nothing behind. A
//! connection that cannot be verified within `ping_timeout` is closed.
//!
//! A dropped query continues at the server. If it does not end soon, it is cancelled there, so that
//! it does not hold a slot: see [`PgPoolOptions::cancel_abandoned`].
//!
//! # Reset between two borrowers
//!
//! | [`ResetLevel`] | the next borrower cannot see | cost per return |
//! |---|---|---|
//! | `None` | nothing is reset | nothing |
//! | `Transaction`, the default | an open transaction, or answers to another borrower's statements | nothing if clean, else a round trip, 0.13 ms |
//! | `Session` | role, settings, search path, temporary tables, advisory locks, LISTEN and cursors either; see [`PgManager::with_reset`] | two round trips, 0.25 ms |
//! | `Replace` | anything: every connection is closed on return | a new connection, 2.5 ms |
//!
//! The times are those of `examples/postgres_reset_cost.rs` with a server on the same machine,
//! medians of five runs.
//!
//! ```sh
//! cargo xtask servers postgres -- \
//!     cargo run --release -p millpond-postgres --example postgres_reset_cost
//! ```
//!
//! # What differs from `sqlx::PgPool`
//!
//! Queries, streams, `query!` and related macros, `migrate!().run(&pool)`, `&mut *conn`, `&mut
//! *tx`, savepoints, generic code over `Executor` and `PgExecutor`, and `#[sqlx::test]` functions
//! that take `PgConnectOptions` need no change. The following do; a star marks changes that the
//! compiler does not find:
//!
//! | with sqlx | here |
//! |---|---|
//! | `PgPool::connect(url)`, `connect_with`, `connect_lazy`, `connect_lazy_with` | `PgPoolOptions::new().connect(url)`, ..; the last one returns a `Result` too |
//! | `max_connections(n)` | `pool_size(n).max_overflow(0)`: up to `pool_size` connections are kept, and up to `max_overflow` (default 20) more may be opened |
//! | `min_connections`, `acquire_timeout`, `max_lifetime` (30 min), `test_before_acquire` (always) | `min_idle`, `pool_timeout`, `pool_recycle` (1 h), `pool_pre_ping` (after 500 ms without use); sqlx's names compile too, with a warning |
//! | * `idle_timeout`, by default 10 min | the same name, by default off |
//! | `after_connect`, `before_acquire`, `after_release` | `on_connect`, `on_checkout`, `on_checkin`: an `Err` refuses the connection, where sqlx wants `Ok(false)` |
//! | `acquire_slow_threshold` and related methods | an observer: every acquire is reported with its duration |
//! | `close_event()` | `pool.sqlx()?.close_event()` |
//! | `parent`, `get_max_connections` and related methods, `options()`, `connect_options()`, `try_begin_with()` | not offered |
//! | `set_connect_options` | [`PgPoolOptions::credentials`] for a password that changes, else a new pool |
//! | `sqlx::Pool<Postgres>`, `sqlx::Transaction<'_, Postgres>`, `PoolConnection<Postgres>` in signatures | [`PgPool`], [`Transaction`], [`SqlLease`] |
//! | crates that take a `&sqlx::PgPool`: session stores, job queues | [`pool.sqlx()?`](SqlPool::sqlx), with [`sqlx_connections`](PgPoolOptions::sqlx_connections) |
//! | `conn.close_on_drop()`; `leak()`; `return_to_pool()` | `SqlLease::discard(conn)` or `conn.close()`; none; `drop(conn)` |
//! | * `pool.begin()` through `Acquire`, in generic code | sqlx's own transaction, whose use is not tracked: see [`SqlPool`] |
//! | * `Error::PoolTimedOut` | `Error::Io` of kind `TimedOut` with the reason, which [`pool_error`] extracts; with [`sqlx_timeouts(true)`](PgPoolOptions::sqlx_timeouts) the same |
//! | * `close()` waits for every borrower | for 30 s at most; `close_within` reports the remaining holders |
//! | `PgListener::connect_with(&pool)` | [`PgPoolOptions::listener`], or `PgListener::connect_with(&pool.sqlx()?)` |
//! | `pool.copy_in_raw(..)`, `pool.copy_out_raw(..)` | on a lease: `pool.acquire().await?.copy_in_raw(..)` |
//! | `#[sqlx::test]` functions that take a pool | take the options: `(_: sqlx::pool::PoolOptions<Postgres>, options: PgConnectOptions)` |
//! | * `try_acquire()` right after a lease whose driver connection was used directly | `None` until that connection is verified, a round trip later |
//! | * a dropped query continues at the server | it is [cancelled](PgPoolOptions::cancel_abandoned) |
//! | * an unknown URL parameter is ignored | it is an error |
//!
//! Two limitations remain; the facade's `DatabaseConnection` handles both. A connection identifies
//! a prepared statement by its text, with the types of its first arguments: an `f64` bound to a
//! text to which an `i64` was bound before is read as another number, as with sqlx's pool, so
//! always bind the same types to a text. And migrations take a session lock, which sqlx releases
//! only on success: after an error of `migrate!().run(&mut conn)`, or when it was dropped, call
//! `SqlLease::discard(conn)`; after `run(&pool)` the connection is returned with the lock.
//!
//! # TLS
//!
//! rustls, with the system's certificates. `sslmode` defaults to sqlx's `prefer`, which falls back
//! to an unencrypted connection if the server has no TLS: set `sslmode=verify-full` where it
//! matters.

mod backend;
mod composite;
mod dialer;
mod error_class;
mod listen;
mod manager;
mod options;
mod pooler;
mod pooler_detection;
mod server_info;
mod session;
mod stand_in;
mod url;
mod verify;

pub use backend::PgBackend;
pub use manager::PgManager;
pub use millpond_core::{
    CloseReport, ConnectionInfo, Handle, Hooks, Invalidate, Limits, PoolConfig, PoolError,
    PoolKind, Pooler, RequestRefusal, ResetLevel, Status,
};
pub use millpond_sqlx::backend_api::{UrlError, UrlProblem};
pub use millpond_sqlx::{
    Credentials, Login, RawLease, SqlLease, SqlPool, SyncState, Tracked, Transaction,
    TransactionLost, TransactionOutcome, pool_error, transaction_lost,
};
pub use options::{PgPool, PgPoolOptions};
pub use sqlx::postgres::{PgConnectOptions, PgListener, PgSslMode};
pub use sqlx::{PgConnection, Postgres};
