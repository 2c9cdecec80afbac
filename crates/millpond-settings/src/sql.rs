//! What SQL pools and pools over TCP can be set to besides: values that the backends share.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The range of `tcp_keepalive` and `tcp_user_timeout`, settings of the backends, unless they are
/// off.
pub const TCP_TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The default of `tcp_keepalive`: 60 s.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The default of `tcp_user_timeout`: 300 s.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(300);

/// Which pool lends the connections of a SQL backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PoolKind {
    /// `null`: opens a connection for every borrower and keeps none.
    Null,
    /// `queue`: keeps `pool_size` connections.
    Queue,
    /// `read-write`: one writer and `pool_size` readers, each in a pool of its own; SQLite only.
    ReadWrite,
}

impl PoolKind {
    /// Its name in settings.
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

/// What stands between a SQL pool and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Pooler {
    /// `server`: nothing, or a pooler that lends a server for a whole session.
    #[default]
    Direct,
    /// `unchecked`: as `server`, without looking whether a pooler stands there, which is refused if
    /// it lends a server for one transaction only. For what is taken for such a pooler and is none.
    Unchecked,
    /// `pgbouncer`: PgBouncer with `pool_mode = transaction`, or another one that works like it.
    PgBouncer,
}

/// What a SQL backend does to a connection between two borrowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetLevel {
    /// Nothing, not even for a connection in doubt.
    None,
    /// No open transaction is lent on.
    #[default]
    Transaction,
    /// No session state either: role, variables, temporary tables, locks. What `on_connect` hooks
    /// leave on a connection is the state that it leads back to: where it has undone that, they are
    /// called again.
    Session,
    /// Every connection is closed on return.
    Replace,
}
