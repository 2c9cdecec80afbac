//! Connection pools that never lend a connection that is out of sync with its server, for a
//! database that is selected at run time.
//!
//! Begin with [`DatabaseConnection`]: it takes a URL and is an sqlx executor. A program that needs
//! only one backend can use the typed pool, `sqlite::SqlitePool`, `postgres::PgPool` or
//! `mysql::MySqlPool`; a program that pools other connections can use its own [`Manager`] and a
//! [`QueuePool`].
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use millpond::DatabaseConnection;
//!
//! let db = DatabaseConnection::connect("sqlite::memory:").await?;
//! let mut tx = db.begin().await?;
//! sqlx::query("CREATE TABLE ponds (name TEXT)").execute(&mut tx).await?;
//! sqlx::query("INSERT INTO ponds VALUES ($1)").bind("mill").execute(&mut tx).await?;
//! tx.commit().await?;
//! let ponds: i64 = sqlx::query_scalar("SELECT count(*) FROM ponds").fetch_one(&db).await?;
//! assert_eq!(ponds, 1);
//! assert!(db.close().await.is_clean());
//! # Ok::<(), sqlx::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `sqlite`, on by default | the backend for SQLite, and the module `sqlite` with its typed pool; needs a C compiler |
//! | `cache` | the module `cache`, with `RedisCache` |
//! | `metrics` | `PoolMetrics`, which reports pools' metrics to the recorder of the `metrics` facade |
//! | `mysql` | the backend for MySQL and MariaDB, and the module `mysql` with its typed pool |
//! | `postgres` | the backend for PostgreSQL, and the module `postgres` with its typed pool |
//! | `ratelimit` | the module `ratelimit`, with `CentralizedStateStorage` and its limiters |
//! | `redis` | the module `redis`, with pools of Redis connections; `cache` and `ratelimit` bring it along |
//! | `redis-rs` | the second driver for Redis, `?driver=redis-rs` in the URL |
//!
//! The URL of a database whose feature is off is an error that names the feature. For a single
//! backend write `default-features = false` and its feature, or depend on the backend's own crate.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod admin;
mod any_connection;
mod any_conversion;
mod backends;
mod builder;
#[cfg(feature = "cache")]
pub mod cache;
mod compatibility;
mod connection;
mod dialect;
mod error;
mod executor;
mod hooks;
mod lease;
mod metrics;
mod migrate;
mod placeholder;
mod prepared_query;
#[cfg(feature = "ratelimit")]
pub mod ratelimit;
#[cfg(feature = "redis")]
mod redis_settings;
mod statement;
mod target;
mod transaction;

pub use any_connection::AnyConnection;
pub use builder::DatabaseBuilder;
pub use connection::DatabaseConnection;
pub use dialect::Dialect;
pub use error::ConnectError;
pub use lease::DatabaseLease;
pub use metrics::PerformanceMetrics;
#[doc(hidden)]
pub use prepared_query::{Answer, UntypedStatement};
pub use transaction::DatabaseTransaction;

/// Loading settings, explaining them, and their errors; see also [`Settings`] and its sections.
pub mod settings {
    pub use millpond_config::{
        Change, DEFAULT_FILE, DbSettings, Explanation, Loader, Preset, RedisSettings, Refusal, Row,
        Secret, SettingProblem, Settings, SettingsError, StorageSettings, Value, parse_time,
        presets,
    };
}

pub use millpond_advice as advice;
pub use millpond_config::{Loader, Secret, Settings, SettingsError};
pub use millpond_core as core;
pub use millpond_core::{
    BoxError, Builder, CloseReason, CloseReport, ConfigError, ConnectInfo, ConnectionId,
    ConnectionInfo, DEFAULT_CLOSE_TIMEOUT, ErrorClass, Event, EventContext, Handle, Holder,
    HookFuture, HookPoint, HookPoints, Hooks, Invalidate, Lease, Limits, Manager, NullPool,
    Observer, Phase, Pool, PoolConfig, PoolError, PoolExt, PoolKind, Pooler, QueuePool, Request,
    RequestRefusal, ResetLevel, Status, TimedOut, Triage, async_trait,
};
#[cfg(feature = "metrics")]
pub use millpond_metrics::{BUCKETS as METRIC_BUCKETS, CacheMetrics, CacheOutcome, PoolMetrics};
#[cfg(feature = "mysql")]
#[doc(inline)]
pub use millpond_mysql as mysql;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use millpond_postgres as postgres;
#[cfg(feature = "redis")]
#[doc(inline)]
pub use millpond_redis as redis;
pub use millpond_shared as shared;
pub use millpond_shared::{SharedPool, WeakSharedPool};
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use millpond_sqlite as sqlite;
#[cfg(feature = "sqlite")]
pub use millpond_sqlite::PragmaHook;
pub use millpond_sqlx::{TransactionLost, TransactionOutcome, pool_error, transaction_lost};
/// The sqlx version of these pools, re-exported so that versions cannot differ.
pub use sqlx;

#[cfg(all(
    doctest,
    feature = "cache",
    feature = "metrics",
    feature = "ratelimit",
    feature = "sqlite"
))]
#[doc = include_str!("../../../README.md")]
#[doc = include_str!("../README.md")]
struct Readme;
