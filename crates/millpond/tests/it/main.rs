//! `DatabaseConnection` as its users see it, on every database that is available. One module per
//! behaviour.

#[cfg(any(feature = "mysql", feature = "postgres"))]
mod abandoned;
mod admin;
mod borrowing;
#[cfg(feature = "cache")]
mod cache;
mod cut_anywhere;
mod hooks;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "mysql")]
mod mysql_columns;
mod placeholders;
#[cfg(feature = "postgres")]
mod pooler;
#[cfg(feature = "postgres")]
mod postgres_columns;
mod queries;
#[cfg(feature = "ratelimit")]
mod ratelimit;
mod readme;
mod secrets;
mod settings;
mod sqlite_columns;
mod timeouts;
mod transactions;
mod world;
