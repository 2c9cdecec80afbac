//! A connection as hooks, events and users see it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The number of one physical connection: counts from 1 in each pool and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

impl ConnectionId {
    /// The id with this number, for custom pools.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

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

/// What a hook, or `Lease::info`, shows of a connection.
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
    /// What is known of a connection that was opened just now: it was never lent.
    pub fn new(pool: Arc<str>, id: ConnectionId, generation: u64) -> Self {
        Self { pool, id, generation, uses: 0, age: Duration::ZERO, idle: Duration::ZERO }
    }
}
