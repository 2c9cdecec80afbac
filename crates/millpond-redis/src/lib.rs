//! Redis connection pools: single, Sentinel and Cluster; no session state reaches the next
//! borrower.
//!
//! There are two pools. [`RedisPool`] lends a connection to one borrower at a time, for WATCH,
//! blocking commands, SELECT and subscriptions. [`SharedRedisPool`] lets many borrowers use a few
//! connections at once, for every command that leaves the session as it was.
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
//! let options = RedisPoolOptions::new().max_connections(100);
//! let own = options.connect("redis-cluster://node1:7000,node2:7001").await?;
//! let mut lease = own.acquire().await?;
//! let job: Option<(String, String)> = lease.run(Command::new("BLPOP").key("jobs").arg(5)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What `max_connections` counts
//!
//! In a [`RedisPool`] it counts the connections that are lent: 50 by default (10-200). On one
//! server a connection is a socket. In a cluster it has a socket to every master that it was used
//! for, so 50 connections may be 150 sockets to three masters; [`Count::Sockets`] counts sockets
//! instead. A [`SharedRedisPool`] has 4 connections, each with many users.
//!
//! # Every caller gets its own answer
//!
//! The first byte of a frame decides what it is: a list that begins with `message` is a list, a
//! stored text `MOVED 7 host:port` is a text, and only an error reply redirects a command. Commands
//! are counted against answers; an answer without a command closes the connection for all its
//! users, and so does a PING that is answered with another nonce. Connections speak RESP3
//! (`HELLO 3`), which marks messages. If the server does not support that, they speak RESP2, and
//! lists count as messages only on a connection that has subscribed, after every command before the
//! subscription has been answered. The two have different forms for the same answer, such as that
//! of `HGETALL` or `ZRANGE .. WITHSCORES`; the types that implement [`FromValue`] accept both.
//!
//! # Nothing waits without a limit, nothing is sent twice
//!
//! A command without an answer fails after `command_timeout`, 2 s by default. A connection whose
//! oldest command is older than that is closed, and the pool opens another one; a shared connection
//! to a cluster dials the lost node again. A command is sent again only if it is
//! [`idempotent`](Command::idempotent), or after a redirection, which says that it was not
//! executed. [`RedisError::NotSent`] means that nothing was sent; [`RedisError::is_ambiguous`]
//! shows whether a command may have been executed.
//!
//! A connection that is known to be lost is never lent. After the first `READONLY` every older
//! connection is replaced: that server is a replica now.
//!
//! # Two drivers
//!
//! This crate itself finds the master that sentinels name, and the nodes of a cluster: a lost
//! master concerns only callers that ask for its keys, and they get an error at once. `driver=` in
//! a URL or [`RedisConnectOptions::driver`] chooses what serves the sockets: `fred`, the default,
//! can subscribe and offers fred's own client beside a connection; over `redis-rs` a connection
//! cannot subscribe. Each driver is a feature of that name, of which at least one must be on;
//! `fred` is on by default.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "fred", feature = "redis-rs")))]
compile_error!(
    "millpond-redis needs a driver: enable the feature `fred` (on by default) or `redis-rs`"
);

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
mod staggered;
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
pub use connect::options::{COMMAND_TIMEOUT, Driver, Protocol, RedisConnectOptions};
pub use connect::url_error::UrlError;
pub use connection::RedisConnection;
pub use error::RedisError;
pub use lease::{RedisLease, SharedRedisLease};
pub use manager::{RedisManager, SharedRedisManager};
pub use millpond_core::{
    CloseReport, ConnectionInfo, Handle, Hooks, Invalidate, Limits, Observer, PoolConfig,
    PoolError, RequestRefusal, Status,
};
pub use millpond_shared::SharedPool;
pub use options::{Count, PoolOptions, RedisPoolOptions, SharedRedisPoolOptions};
pub use permits::OnExhausted;
pub use pool::{RedisPool, SharedRedisPool};
pub use script::{Script, ScriptCall};
pub use subscription::Message;
pub use value::{FromValue, Value};
