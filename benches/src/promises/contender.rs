//! What a pool must implement to take part in the scenarios.

use super::server::Server;
use std::future::Future;
use std::time::Duration;

/// A pool over a scripted server. A value is a handle: clones are the same pool.
pub(crate) trait Contender: Clone + Send + Sync + 'static {
    const NAME: &'static str;
    type Lease: Send + 'static;

    /// Creates a pool of at most `cap` connections with the acquire timeout `limit`, if the pool
    /// has such a setting.
    fn open(server: &Server, cap: u32, limit: Duration) -> impl Future<Output = Self> + Send;

    /// Lends a connection, or returns `None`.
    fn acquire(&self) -> impl Future<Output = Option<Self::Lease>> + Send;

    /// Changes the limit; returns false if the pool cannot.
    fn resize(&self, cap: u32) -> impl Future<Output = bool> + Send;
}
