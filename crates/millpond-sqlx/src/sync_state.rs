//! What is known of a connection between two borrowers.

use std::fmt;

/// What is known of a connection; the later ones outweigh the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SyncState {
    /// Every operation ended, and none could leave anything behind: fit to be lent at once.
    #[default]
    Clean,
    /// The rows of a statement were dropped before the last one came.
    Undrained,
    /// A statement that may leave something behind, or access to the driver's own connection.
    InDoubt,
    /// An operation was dropped while it waited for the server, or panicked.
    Interrupted,
    /// The driver reported that the connection is no longer usable.
    Broken,
}

impl SyncState {
    /// Whether anything has to be done before the connection can be lent again.
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
