//! What the suite tells a fixture about a pool, and a fixture tells the suite about its backend.

use crate::fake::ServerStep;
use crate::trace::Trace;
use millpond_core::{PoolConfig, ResetLevel};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How a pool of the backend's own is to be built. Nothing is to be opened before somebody asks.
#[derive(Clone)]
#[non_exhaustive]
pub struct Plan {
    /// Where the server is, without parameters: [`Fixture::url`](crate::Fixture::url), or a proxy
    /// before it.
    pub url: String,
    /// All settings of the pool.
    pub config: PoolConfig,
    /// What is done to a connection between two borrowers.
    pub reset: ResetLevel,
    /// How many prepared statements a connection keeps; `None` is the driver's default.
    pub statements: Option<usize>,
    /// A file with the password, to be read at every connect.
    pub password_file: Option<PathBuf>,
    /// An observer of the pool.
    pub trace: Trace,
}

impl Plan {
    pub(crate) fn new(url: String) -> Self {
        let mut config = PoolConfig::default();
        (config.pool_size, config.max_overflow) = (1, 0);
        // A healthy server on a busy machine answers within this time.
        config.ping_timeout = Duration::from_secs(5);
        let (reset, trace) = (ResetLevel::default(), Trace::new());
        Self { url, config, reset, statements: None, password_file: None, trace }
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("Plan")
            .field("config", &self.config)
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}

/// A trace that a borrower can leave on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// A statement that leaves it.
    pub leave: &'static str,
    /// A query that gives a row where it is; none, or an error, where it is not.
    pub look: &'static str,
}

/// What a server says to a new client that it does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// That it has no room yet, or is starting up.
    pub not_yet: Vec<ServerStep>,
    /// That it never will: a wrong password.
    pub never: Vec<ServerStep>,
}
