//! Who serves the sockets: this crate beside fred, or redis-rs behind a feature.

use crate::connect_options::RedisConnectOptions;
use crate::error::RedisError;
use crate::link::{Hub, Link};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Who speaks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Driver {
    /// Sockets that are served here, since fred takes some answers for messages or redirections; subscriptions too, and
    /// fred's own client on a connection of its own, for what is not offered:
    /// [`RedisConnection::driver`](crate::RedisConnection::driver).
    #[default]
    Fred,
    /// Sockets that redis-rs serves. No subscriptions. With the feature `redis-rs`.
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
    pub(crate) options: Arc<RedisConnectOptions>,
    /// What they know together.
    hub: Arc<Hub>,
}

impl Opener {
    pub(crate) fn new(options: RedisConnectOptions) -> Self {
        let options = Arc::new(options);
        Self { hub: Hub::new(Arc::clone(&options)), options }
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
        Box::pin(Link::open(&self.hub, purpose, limit)).await
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.hub.end();
    }
}

/// `None` if it took longer.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}
