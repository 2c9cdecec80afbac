//! A connection over either driver: fred, or redis-rs behind a feature.

use crate::command::{ClusterNode, Command};
use crate::connect_options::RedisConnectOptions;
use crate::error::RedisError;
use crate::fred_link::FredLink;
#[cfg(feature = "redis-rs")]
use crate::redis_rs::{Hub, RedisRsLink};
use crate::value::Value;
use std::future::Future;
#[cfg(feature = "redis-rs")]
use std::sync::Arc;
use std::time::Duration;

/// Who speaks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Driver {
    /// fred: subscriptions too.
    #[default]
    Fred,
    /// The connections of redis-rs, and a way through a cluster of our own over them: while a master is lost the keys of the
    /// others keep being answered. No subscriptions. With the feature `redis-rs`.
    #[cfg(feature = "redis-rs")]
    RedisRs,
}

/// Whom a connection serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// One borrower at a time. It never reconnects: a WATCH that is lost with its connection must not pass for one.
    Exclusive,
    /// Many at once. In a cluster it finds its nodes again by itself; else the pool opens another one.
    Shared,
}

/// How a command is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It is answered at once.
    Plain,
    /// It blocks at the server for so long.
    Blocking(Duration),
}

/// Opens the connections of one manager.
#[derive(Debug)]
pub(crate) struct Opener {
    pub(crate) options: RedisConnectOptions,
    /// What they know together.
    #[cfg(feature = "redis-rs")]
    hub: Arc<Hub>,
}

impl Opener {
    pub(crate) fn new(options: RedisConnectOptions) -> Self {
        Self {
            #[cfg(feature = "redis-rs")]
            hub: Hub::new(options.clone()),
            options,
        }
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// Why there is no connection; nothing is left of the attempt then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub(crate) async fn open(&self, purpose: Use, limit: Duration) -> Result<Link, RedisError> {
        match self.options.driver {
            Driver::Fred => Box::pin(FredLink::open(&self.options, purpose, limit)).await.map(Link::Fred),
            #[cfg(feature = "redis-rs")]
            Driver::RedisRs => Box::pin(RedisRsLink::open(&self.hub, purpose, limit)).await.map(Link::RedisRs),
        }
    }
}

#[cfg(feature = "redis-rs")]
impl Drop for Opener {
    fn drop(&mut self) {
        self.hub.end();
    }
}

/// A connection. Whoever drops it ends its tasks and its sockets.
pub(crate) enum Link {
    Fred(FredLink),
    #[cfg(feature = "redis-rs")]
    RedisRs(RedisRsLink),
}

/// Hands a call on to the driver.
macro_rules! driver {
    ($link:expr, $inner:ident => $call:expr) => {
        match $link {
            Link::Fred($inner) => $call,
            #[cfg(feature = "redis-rs")]
            Link::RedisRs($inner) => $call,
        }
    };
}

impl Link {
    /// fred's client, where it is fred's.
    pub(crate) fn fred(&self) -> Option<&FredLink> {
        match self {
            Self::Fred(link) => Some(link),
            #[cfg(feature = "redis-rs")]
            Self::RedisRs(_) => None,
        }
    }

    /// Whether somebody outside holds a handle.
    pub(crate) fn has_escaped(&self) -> bool {
        self.fred().is_some_and(FredLink::has_escaped)
    }

    /// Whether the connection is lost, as far as this side knows.
    pub(crate) fn is_dead(&self) -> bool {
        driver!(self, link => link.is_dead())
    }

    /// Ends when the connection is lost.
    pub(crate) async fn lost(&mut self) {
        driver!(self, link => link.lost().await);
    }

    /// Gives the connection up: its sockets close.
    pub(crate) fn abort(&self) {
        driver!(self, link => link.abort());
    }

    /// Nobody answered a command within its limit, nor any other that was sent to the same place.
    pub(crate) fn give_up(&self) {
        if let Some(link) = self.fred() {
            link.give_up();
        }
        // redis-rs' gives up a node by itself, and not the others with it.
    }

    /// The limit of a command that has none of its own.
    pub(crate) fn limit(&self) -> Duration {
        driver!(self, link => link.limit())
    }

    /// Whether it leads to a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        driver!(self, link => link.is_cluster())
    }

    /// The masters that it is connected to.
    pub(crate) fn nodes(&self) -> Vec<ClusterNode> {
        driver!(self, link => link.nodes())
    }

    /// How many sockets it has open, or will have when it has been used for all masters.
    pub(crate) fn sockets(&self) -> usize {
        driver!(self, link => link.sockets())
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    ///
    /// An error of the server's is one here.
    ///
    /// # Cancel safety
    ///
    /// What was sent is executed; its answer is read and thrown away.
    pub(crate) async fn call(&self, command: Command, manner: Manner) -> Result<Value, RedisError> {
        match self {
            Self::Fred(link) if link.is_cluster() => Box::pin(link.call(command, manner)).await,
            Self::Fred(link) => link.send(command, manner).await,
            #[cfg(feature = "redis-rs")]
            Self::RedisRs(link) => link.call(command, manner).await,
        }
    }

    /// Sends commands as one transaction. The answer is nil if a watched key has changed.
    ///
    /// # Errors
    ///
    /// The first error of the server's.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call): all of it is executed, or nothing.
    pub(crate) async fn transaction(&self, commands: Vec<Command>) -> Result<Value, RedisError> {
        driver!(self, link => Box::pin(link.transaction(commands)).await)
    }
}

/// `None` if it took longer.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}
