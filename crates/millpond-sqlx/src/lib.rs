//! What millpond's SQL backends share: a drop-in for `sqlx::Pool`, connections that track whether
//! they are in sync with their server, and transactions that own their connection.
//!
//! `millpond-sqlite`, `millpond-postgres` and `millpond-mysql` re-export what their users need.
//! This crate is for code that is generic over the backend, and for backend crates.
//!
//! # Sync state
//!
//! Between two borrowers a connection is in one of the states of [`SyncState`]. [`Tracked`] records
//! the state of every operation from before its first poll, so that a dropped, forgotten or
//! panicking future is always noticed. A connection becomes idle at once only if everything done
//! with it were single statements that begin with SELECT, INSERT, UPDATE, DELETE, VALUES or WITH
//! and completed. Otherwise the pool's maintenance task verifies or closes it before it can be lent
//! again: see [`Backend`](backend_api::Backend).
//!
//! # What differs from `sqlx::Pool`
//!
//! - [`SqlPool::begin`], and `begin` on a lease, return millpond's own [`Transaction`].
//!   `Acquire::begin`, which generic code calls, returns sqlx's, on a connection whose use is not
//!   tracked. [`SqlPool::sqlx`] returns a pool of sqlx's own type, for code that takes one.
//! - A timeout is `sqlx::Error::Io` of kind `TimedOut`, or sqlx's `PoolTimedOut` with the option
//!   `sqlx_timeouts`. [`pool_error`] extracts the [`PoolError`] from any other error, with its
//!   cause, the oldest holders and the pool's status.
//! - The holder of a query on `&pool` is shown by the first words of its statement: sqlx's
//!   `fetch_one` and similar methods do not pass on their caller's location. [`SqlPool::acquire`]
//!   and [`SqlPool::begin`] do.
//!
//! # Examples
//!
//! Code that is generic over the backend:
//!
//! ```
//! use millpond_sqlx::SqlPool;
//! use sqlx::Database;
//!
//! async fn ready<DB: Database>(pool: &SqlPool<DB>) -> Result<(), sqlx::Error> {
//!     let lease = pool.acquire().await?;
//!     drop(lease);
//!     assert_eq!(pool.status().in_use, 0);
//!     Ok(())
//! }
//! ```

mod acquire;
mod addresses;
mod admin;
mod answer_check;
mod argument_size;
mod as_sqlx;
mod backend;
pub mod backend_api;
mod backing_pool;
mod borrowed_transaction;
mod canceller;
mod command;
mod connection_notes;
mod credentials;
mod drain;
mod error;
mod error_class;
mod execute;
mod executor;
mod failover;
mod generated_stream;
mod hooks;
mod label;
mod lease;
mod operation;
mod pending_cancel;
mod pool;
mod pool_build;
mod pool_handle;
mod resume;
mod schema_check;
mod server_limits;
mod server_url;
mod settings;
#[cfg(unix)]
mod socket_relay;
mod sql_text;
mod sqlx_names;
mod sqlx_pool;
mod stand_in;
mod stand_in_server;
mod statement_cache;
mod sync_state;
mod tcp_options;
mod time_limits;
mod tracked;
mod transaction;
mod transaction_pooling;
mod transaction_state;
mod url_error;
mod verification;

pub use credentials::{Credentials, Login};
pub use error::pool_error;
pub use lease::{RawLease, SqlLease};
pub use millpond_core::PoolError;
pub use pool::{SqlPool, WeakSqlPool};
pub use sqlx_names::PoolConnectionMetadata;
pub use sync_state::SyncState;
pub use time_limits::Expired;
pub use tracked::Tracked;
pub use transaction::Transaction;
pub use transaction_state::{TransactionLost, TransactionOutcome, transaction_lost};
