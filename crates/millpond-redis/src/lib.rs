//! Redis connection pools: single, Sentinel and Cluster; no session state reaches the next borrower.
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
//! in a cluster it has a socket to every master that it was used for, so 50 of them may be 150 sockets of three masters. With
//! [`Count::Sockets`] the number is that of sockets. A [`SharedRedisPool`] has 4 connections, each of which many use.
//!
//! # An answer is an answer, and everybody's own
//!
//! What a frame is stands in its first byte: a list that begins with `message` is a list, a stored text `MOVED 7 host:port` is
//! a text, and only an error of the server's redirects a command. Commands are counted against answers; an answer that nobody
//! waits for ends the connection with everybody on it, and so does a PING whose nonce does not come back. A connection that
//! subscribes speaks the third version of the protocol (`HELLO 3`) from then on, in which messages are of a kind of their own;
//! where a server does not know it, messages are told from answers only once all that was asked before is answered. Others
//! speak the second version, over which nothing arrives that was not asked for, and whose answers have the same form
//! everywhere.
//!
//! # Nothing waits for ever, nothing is sent twice
//!
//! A command without an answer fails after its `command_timeout` of 2 s, and if nothing else was answered there meanwhile, its
//! connection is closed. A lost connection is closed, and the pool opens another; a shared connection to a cluster dials the
//! lost node again. Only what says [`Command::idempotent`] is ever sent again, or what a server has answered with a
//! redirection. [`RedisError::NotSent`] says that nothing was sent, [`RedisError::is_ambiguous`] that nobody knows.
//!
//! A connection that is known to be lost is never lent. After the first `READONLY` every connection opened before it is out
//! of date: that server is a replica now.
//!
//! # Two drivers
//!
//! The way to a master that sentinels name, and through a cluster, is this crate's own: a master that is lost stops nobody but
//! those who ask for its keys, and they get an error at once. `driver=` in a URL or [`RedisConnectOptions::driver`] chooses what
//! serves the sockets: `fred`, the default, can subscribe too and offers fred's own client beside a connection; over
//! `redis-rs` a connection cannot subscribe. Each is a feature of that name, of which at least one must be on; `fred` is on
//! by default.

#[cfg(not(any(feature = "fred", feature = "redis-rs")))]
compile_error!("millpond-redis needs a driver: enable the feature `fred` (on by default) or `redis-rs`");

mod breaker;
mod client;
mod command;
mod connect;
mod connection;
mod deadlines;
mod driver;
mod error;
mod error_class;
mod failover_count;
mod lease;
mod link;
mod manager;
mod options;
mod permits;
mod pool;
mod script;
mod subscription;
mod topology;
mod value;

#[doc(hidden)] // For millpond-cache and millpond-ratelimit.
pub use breaker::Breaker;
pub use bytes::Bytes;
pub use client::RedisClient;
pub use command::argument::Argument;
pub use command::slot::slot_of;
pub use command::{ClusterNode, Command};
pub use connect::options::{COMMAND_TIMEOUT, Driver, RedisConnectOptions, TCP_KEEPALIVE};
pub use connect::url_error::UrlError;
pub use connection::RedisConnection;
pub use error::RedisError;
pub use lease::{RedisLease, SharedRedisLease};
pub use manager::{RedisManager, SharedRedisManager};
pub use millpond_core::{
    CloseReport, ConnectionInfo, Handle, Hooks, Invalidate, Limits, Observer, PoolConfig, PoolError, RequestRefusal,
    Status,
};
pub use options::{Count, PoolOptions, RedisPoolOptions, SharedRedisPoolOptions};
pub use permits::OnExhausted;
pub use pool::{RedisPool, SharedRedisPool};
pub use script::{Script, ScriptCall};
pub use subscription::Message;
pub use value::{FromValue, Value};
