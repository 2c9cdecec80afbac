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
//! # In step
//!
//! A connection comes back without I/O if all that was done with it were single statements that ran
//! to their end. Otherwise the pool's maintenance task asks the server, in one round trip, for a
//! nonce and whether a transaction is open, before the next borrower can get the connection: a raw
//! `BEGIN`, a cancelled `begin()`, a script that failed half-way, a dropped stream, a panic leave
//! nothing behind. What cannot be verified within `ping_timeout` is closed.
//!
//! A query that was cut off goes on at the server. What does not end by itself soon is cancelled
//! there, so that it does not hold its place: see [`PgPoolOptions::cancel_abandoned`].
//!
//! # What is done between two borrowers
//!
//! | [`ResetLevel`] | the next borrower cannot see | cost of a return |
//! |---|---|---|
//! | `None` | nothing is done | nothing |
//! | `Transaction`, the default | an open transaction, or answers to what somebody else asked | nothing if clean, else a round trip, 0.13 ms |
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
//! Queries, streams, `query!` and its sisters, `migrate!().run(&pool)`, `&mut *conn`, `&mut *tx`,
//! savepoints, generic code over `Executor` and `PgExecutor`, and `#[sqlx::test]` functions that
//! take `PgConnectOptions` stay as they are. These change; a star marks what the compiler does not
//! find:
//!
//! | with sqlx | here |
//! |---|---|
//! | `PgPool::connect(url)`, `connect_with`, `connect_lazy`, `connect_lazy_with` | `PgPoolOptions::new().connect(url)`, ..; the last one returns a `Result` too |
//! | `max_connections(n)` | `pool_size(n).max_overflow(0)`: `pool_size` is kept, and `max_overflow`, 20 by default, may be opened beyond it |
//! | `min_connections`, `acquire_timeout`, `max_lifetime` (30 min), `test_before_acquire` (always) | `min_idle`, `pool_timeout`, `pool_recycle` (1 h), `pool_pre_ping` (after 500 ms without use) |
//! | * `idle_timeout`, by default 10 min | the same name, by default off |
//! | `after_connect`, `before_acquire`, `after_release` | `on_connect`, `on_checkout`, `on_checkin`: an `Err` refuses the connection, where sqlx wants `Ok(false)` |
//! | `acquire_slow_threshold` and its sisters | an observer: every acquire is reported with how long it took |
//! | `parent`, `get_max_connections` and its sisters, `options()`, `connect_options()`, `close_event()`, `try_begin()`, `try_begin_with()` | not offered |
//! | `set_connect_options` | [`PgPoolOptions::credentials`] for a password that changes, else a new pool |
//! | `sqlx::Pool<Postgres>`, `sqlx::Transaction<'_, Postgres>`, `PoolConnection<Postgres>` in signatures | [`PgPool`], [`Transaction`], [`SqlLease`] |
//! | crates that take a `&sqlx::PgPool`: session stores, job queues | they need a pool of sqlx's |
//! | `conn.detach()`, `leak()`; `close()`, `close_on_drop()`; `return_to_pool()` | `SqlLease::detach(conn)`; `SqlLease::discard(conn)`; `drop(conn)` |
//! | * `pool.begin()` through `Acquire`, in code that is generic | begins on a connection: see [`SqlPool`] |
//! | * `Error::PoolTimedOut` | `Error::Io` of kind `TimedOut`, which says why; [`pool_error`] reads it |
//! | * `close()` waits for every borrower | for 30 s at most; `close_within` reports who is left |
//! | `PgListener::connect_with(&pool)` | [`PgPoolOptions::listener`] |
//! | `pool.copy_in_raw(..)`, `pool.copy_out_raw(..)` | on a lease: `pool.acquire().await?.copy_in_raw(..)` |
//! | `#[sqlx::test]` functions that take a pool | take the options: `(_: sqlx::pool::PoolOptions<Postgres>, options: PgConnectOptions)` |
//! | * `try_acquire()` right after a lease was used by the driver's own means | `None` until that connection is verified, a round trip later |
//! | * a query that was dropped runs on at the server | it is [cancelled](PgPoolOptions::cancel_abandoned) |
//! | * an unknown parameter of a URL is ignored | it is an error |
//!
//! Two things stay that may surprise; the facade's `DatabaseConnection` sees to both. A connection
//! knows a prepared statement by its text alone, with the types of its first arguments: an `f64`
//! given to a text that an `i64` was given before is read as another number, as with sqlx's pool,
//! so give a text the same types always. And migrations lock out other migrators for the session,
//! which sqlx takes back at a good end only: after an error of `migrate!().run(&mut conn)`, or when
//! it was dropped, call `SqlLease::discard(conn)`; from a pool that gets `run(&pool)` its
//! connection goes back with the lock.
//!
//! # TLS
//!
//! rustls, with the system's certificates. `sslmode` is sqlx's `prefer` unless the URL says
//! otherwise, and that goes on in the clear with a server that has no TLS: write
//! `sslmode=verify-full` where it matters.

mod backend;
mod dialer;
mod error_class;
mod lexer;
mod listen;
mod manager;
mod options;
mod pooler;
mod pooler_detection;
mod server_info;
mod session;
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
