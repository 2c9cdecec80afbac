//! What a pool must be able to do to take part.

use super::server::Server;
use std::future::Future;
use std::time::Duration;

/// A pool over a scripted server. A value is a handle: clones are the same pool.
pub(crate) trait Contender: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    type Lease: Send + 'static;

    /// A pool of at most `cap` connections that gives up after `limit`, where the pool has such a
    /// setting.
    fn open(server: &Server, cap: u32, limit: Duration) -> impl Future<Output = Self> + Send;

    /// Lends a connection, or nothing.
    fn acquire(&self) -> impl Future<Output = Option<Self::Lease>> + Send;

    /// Changes the cap. `false` if it cannot.
    fn resize(&self, cap: u32) -> impl Future<Output = bool> + Send;
}
