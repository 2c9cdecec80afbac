//! What managers and hooks learn about a connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The number of one physical connection: counts from 1 in each pool and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// The number itself.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What [`Manager::connect`](crate::Manager::connect) learns about the attempt.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectInfo {
    /// The name of the pool, as given to its builder.
    pub pool: Arc<str>,
    /// The number that the connection will have.
    pub id: ConnectionId,
    /// 1 for the first attempt, and one more for every attempt that failed in a row before this
    /// one.
    pub attempt: u32,
    /// How often everything was invalidated before: what is opened now belongs to this generation.
    pub generation: u64,
    /// The limit of this attempt (`connect_timeout`); the pool drops the future when it has passed.
    pub limit: Duration,
}

impl ConnectInfo {
    /// An attempt as a pool of that name would make it first: for testing a manager without a pool.
    pub fn first(pool: &str, limit: Duration) -> Self {
        Self { pool: pool.into(), id: ConnectionId(1), attempt: 1, generation: 0, limit }
    }
}

/// What a hook, or [`Lease::info`](crate::Lease::info), shows of a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The name of the pool it belongs to; empty for a lease that a custom pool made with
    /// `Lease::new`.
    pub pool: Arc<str>,
    /// Its number.
    pub id: ConnectionId,
    /// How often everything was invalidated before it was opened.
    pub generation: u64,
    /// How often it was lent, the present loan included.
    pub uses: u64,
    /// How long ago it was opened.
    pub age: Duration,
    /// How long it had been idle when this borrower came, or since it came back.
    pub idle: Duration,
}

impl ConnectionInfo {
    /// What is known of a connection that was opened just now.
    pub(crate) fn new(pool: Arc<str>, id: ConnectionId, generation: u64) -> Self {
        Self { pool, id, generation, uses: 0, age: Duration::ZERO, idle: Duration::ZERO }
    }
}
