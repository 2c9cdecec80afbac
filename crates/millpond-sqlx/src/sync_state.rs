//! State of a connection with respect to its server.

use std::fmt;

/// State of a connection, ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SyncState {
    /// Every operation completed and left nothing behind: the connection can be lent at once.
    #[default]
    Clean,
    /// The rows of a statement were dropped before the last one arrived.
    Undrained,
    /// A statement that may leave something behind was executed, or the driver's connection was
    /// used directly.
    InDoubt,
    /// An operation was dropped while it waited for the server, or panicked.
    Interrupted,
    /// The driver reported that the connection is no longer usable.
    Broken,
}

impl SyncState {
    /// Returns true if the connection can be lent again without being verified.
    pub fn is_clean(self) -> bool {
        self == Self::Clean
    }
}

impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean",
            Self::Undrained => "undrained",
            Self::InDoubt => "in doubt",
            Self::Interrupted => "interrupted",
            Self::Broken => "broken",
        })
    }
}
