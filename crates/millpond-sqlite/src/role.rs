//! The role of a manager's connections: a file, an in-memory database, or the writer or the readers
//! of a shared file.

use crate::in_memory::InMemoryDatabase;
use crate::wal_mode::SharedFile;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The role of a manager's connections.
pub(crate) enum Role {
    File {
        /// True once the file was checked to be a database.
        checked: AtomicBool,
    },
    InMemory(Arc<InMemoryDatabase>),
    Writer(Arc<SharedFile>),
    Reader(Arc<SharedFile>),
}
