//! Redis connection pools over fred: single, Sentinel and Cluster; no session state reaches the next borrower.
//!
//! Two pools. [`RedisPool`] lends a connection to one borrower at a time, who may watch, block, select and subscribe;
//! [`SharedRedisPool`] lets many use a few connections at once, for everything that leaves the session as it was.
//!
//! ```no_run
//! use millpond_redis::{Command, RedisPoolOptions, SharedRedisPoolOptions};
//! use std::time::Duration;
//!
//! # async fn example() -> Result<(), millpond_redis::RedisError> {
//! let shared = SharedRedisPoolOptions::new().connect("redis://localhost:6379/0").await?;
//! let _: () = shared.run(Command::new("SET").key("pond").arg("mill").arg("EX").arg(60)).await?;
//! let name: Option<String> = shared.run(Command::new("GET").key("pond").idempotent()).await?;
//!
//! let own = RedisPoolOptions::new().max_connections(100).connect("redis-cluster://node1:7000,node2:7001").await?;
//! let mut lease = own.acquire().await?;
//! let job: Option<(String, String)> = lease.run(Command::new("BLPOP").key("jobs").arg(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What `max_connections` counts
//!
//! Of a [`RedisPool`] connections that are lent, 50 unless said otherwise (10-200). On one server a connection is a socket;
//! in a cluster it has a socket to every master and one more while it looks for them, so 50 of them may be 200 sockets of
//! three masters. With [`Count::Sockets`] the number is that of sockets. A [`SharedRedisPool`] has 4 connections, each of
//! which many use.
//!
//! # Nothing waits for ever, nothing is sent twice
//!
//! | fred's default | here |
//! |---|---|
//! | a command waits for its answer for ever | `command_timeout`, 2 s; then the connection is closed |
//! | a command that blocks at the server holds up those behind it when it is abandoned | its connection is closed |
//! | a lost connection is waited for, or reconnected with its session gone | it is closed, and the pool opens another; a shared connection to a cluster finds its nodes again by itself |
//! | what had no answer is sent again, three times in all | only what says [`Command::idempotent`] |
//! | a dropped client keeps its socket and its task | both end |
//! | an unknown scheme means one server, an unknown parameter nothing | both are errors |
//! | while a slot moves, `ASK` goes wrong, and somebody gets another's answer | the redirection is ours |
//!
//! A connection that is known to be lost is never lent. After the first `READONLY` every connection opened before it is out
//! of date: that server is a replica now.
//!
//! # Two drivers
//!
//! fred serves unless a URL says `driver=redis-rs`, or [`RedisConnectOptions::driver`] does. With redis-rs (the feature
//! `redis-rs`) only the sockets are the driver's, and the way through a cluster is ours: a master that is lost stops nobody
//! but those who ask for its keys, who are told at once; fred stops everybody. Over fred a connection can subscribe.

mod argument;
mod arguments;
mod breaker;
mod client;
mod command;
mod connect_options;
mod connection;
mod deadlines;
mod drivers;
mod epoch;
mod error;
mod exhaustion;
mod fault;
mod fred_link;
mod fred_settings;
mod known;
mod lease;
mod manager;
mod options;
mod pool;
mod redirect;
#[cfg(feature = "redis-rs")]
mod redis_rs;
mod script;
mod sending;
mod session;
mod subscription;
mod url;
mod url_error;
mod value;

pub use argument::Argument;
pub use breaker::Breaker;
pub use bytes::Bytes;
pub use client::RedisClient;
pub use command::{ClusterNode, Command, slot_of};
pub use connect_options::{COMMAND_TIMEOUT, RedisConnectOptions};
pub use connection::RedisConnection;
pub use drivers::Driver;
pub use error::RedisError;
pub use exhaustion::OnExhausted;
pub use lease::{RedisLease, SharedRedisLease};
pub use manager::{RedisManager, SharedRedisManager};
pub use millpond_core::{
    CloseReport, ConnectionInfo, Handle, Hooks, Invalidate, Limits, Observer, PoolConfig, PoolError, Status,
};
pub use options::{Count, PoolOptions, RedisPoolOptions, SharedRedisPoolOptions};
pub use pool::{RedisPool, SharedRedisPool};
pub use script::{Script, ScriptCall};
pub use subscription::Message;
pub use url_error::UrlError;
pub use value::{FromValue, Value};
