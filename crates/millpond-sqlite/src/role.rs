//! What the connections of a manager are for: a file of its own, the one in memory, or a half of a
//! pair.

use crate::memory::Memory;
use crate::wal_mode::Ground;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// What its connections are for.
pub(crate) enum Role {
    File {
        /// Whether there was seen to be a database in the file.
        seen: AtomicBool,
    },
    Memory(Arc<Memory>),
    Writer(Arc<Ground>),
    Reader(Arc<Ground>),
}
