//! Values of the settings that SQL backends and TCP connections share.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The range of `tcp_keepalive` and `tcp_user_timeout` in the backends' settings, unless they are
/// off.
pub const TCP_TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The default of `tcp_keepalive`: 60 s.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The default of `tcp_user_timeout`: 300 s.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(300);

/// Which pool lends the connections of an SQL backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolKind {
    /// `null`: opens a connection for every borrower and keeps none.
    Null,
    /// `queue`: keeps `pool_size` connections.
    Queue,
    /// `read-write`: one writer and `pool_size` readers, each in a separate pool; SQLite only.
    ReadWrite,
}

impl PoolKind {
    /// Returns the name of the kind in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Queue => "queue",
            Self::ReadWrite => "read-write",
        }
    }
}

impl fmt::Display for PoolKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is between an SQL pool and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooler {
    /// `server`: nothing, or a pooler that lends a server for a whole session.
    #[default]
    Direct,
    /// `unchecked`: like `server`, without the check that refuses a pooler that lends a server for
    /// one transaction only. For a server that the check mistakes for such a pooler.
    Unchecked,
    /// `pgbouncer`: PgBouncer with `pool_mode = transaction`, or a pooler that works like it.
    PgBouncer,
}

/// What an SQL backend resets on a connection between two borrowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetLevel {
    /// Nothing, not even for a connection in doubt.
    None,
    /// No open transaction reaches the next borrower.
    #[default]
    Transaction,
    /// No session state does either: role, variables, temporary tables, locks. A reset restores the
    /// state that `on_connect` hooks have set; where it cannot, the hooks are called again.
    Session,
    /// Every connection is closed on return.
    Replace,
}
