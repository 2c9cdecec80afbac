//! What the suite passes to a fixture to build a pool, and what a fixture says about its backend.

use crate::fake::ServerStep;
use crate::trace::Trace;
use millpond_core::{PoolConfig, ResetLevel};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How the backend's own pool must be built. It must not connect before the first acquire.
#[derive(Clone)]
#[non_exhaustive]
pub struct Plan {
    /// The server's URL without parameters: [`Fixture::url`](crate::Fixture::url), or that of a
    /// proxy.
    pub url: String,
    /// All settings of the pool.
    pub config: PoolConfig,
    /// How a connection is reset between two borrowers.
    pub reset: ResetLevel,
    /// How many prepared statements a connection caches; `None` is the driver's default.
    pub statements: Option<usize>,
    /// A file with the password, to be read at every connect.
    pub password_file: Option<PathBuf>,
    /// An observer to attach to the pool.
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
        // Without the URL, which may contain a password.
        f.debug_struct("Plan")
            .field("config", &self.config)
            .field("reset", &self.reset)
            .finish_non_exhaustive()
    }
}

/// A kind of state that a borrower can leave on a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// A statement that sets the state.
    pub leave: &'static str,
    /// A query that yields a row while the state is set; otherwise no row or an error.
    pub look: &'static str,
}

/// What a server sends to a new client that it does not serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals {
    /// Replies that a later attempt can succeed: no connection is free, or the server is starting
    /// up.
    pub not_yet: Vec<ServerStep>,
    /// Replies that no attempt can succeed, for example for a wrong password.
    pub never: Vec<ServerStep>,
}
