//! Detects that a database file is replaced or removed while connections are open.
//!
//! Paths are only looked up here, and no file is opened: when a process closes a file, it loses the
//! locks that SQLite holds on it.
//!
//! Measured in one loop: an acquire and its return take 1.9 us, of which the look-up takes 1.7 us;
//! a query takes 14 us.

use millpond_sqlx::Tracked;
use millpond_sqlx::backend_api::WeakPoolHandle;
use sqlx::{Error, Sqlite};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The files that a pool's connections have open; one writer and many readers share a list.
#[derive(Default)]
pub(crate) struct Files {
    open: Mutex<Vec<Weak<Identity>>>,
    /// True if the file was replaced and the new one has not been opened yet.
    replaced: AtomicBool,
    /// The pools that these connections belong to.
    pub(crate) pools: [WeakPoolHandle<Sqlite>; 2],
}

/// Identifies a file independently of its name.
#[derive(Debug, PartialEq, Eq)]
struct Identity(u64, u64);

impl Files {
    /// Refuses to open a file that has replaced another one while connections to the old one are
    /// open, or while the old one's write-ahead log exists: SQLite leaves the log behind and would
    /// apply it to the new file. Returns true for the first connection to a new file.
    pub(crate) fn admit(&self, path: &Path) -> Result<bool, Error> {
        let Some(path) = absolute(path) else { return Ok(false) };
        let found = identity(&path).ok();
        let mut open = self.open();
        open.retain(|file| file.strong_count() > 0);
        if open.iter().filter_map(Weak::upgrade).any(|file| found.as_ref() != Some(&*file)) {
            self.replaced.store(true, Ordering::Relaxed);
            let text = format!(
                "the SQLite file {} was replaced, and connections to the old one are still open",
                path.display()
            );
            return Err(Error::Io(io::Error::new(io::ErrorKind::WouldBlock, text)));
        }
        if self.replaced.load(Ordering::Relaxed) {
            let mut log = path.into_os_string();
            log.push("-wal");
            if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
                let text = format!(
                    "the SQLite file was replaced while the pool had it open, and the write-ahead \
                     log {} of the old one would be applied to the new one: remove it (and the \
                     -shm file beside it), or restore the old file",
                    Path::new(&log).display()
                );
                return Err(Error::Configuration(text.into()));
            }
        }
        Ok(self.replaced.swap(false, Ordering::Relaxed))
    }

    /// Makes a checkout fail if the connection's path leads to another file, or to none.
    pub(crate) fn set_identity_check(self: &Arc<Self>, conn: &mut Tracked<Sqlite>, path: &Path) {
        let Some((path, opened)) =
            absolute(path).and_then(|path| identity(&path).map(|found| (path, found)).ok())
        else {
            return;
        };
        let opened = Arc::new(opened);
        self.open().push(Arc::downgrade(&opened));
        let files = Arc::clone(self);
        conn.set_identity_check(Box::new(move || {
            let what = match identity(&path) {
                Ok(found) if found == *opened => return Ok(()),
                Ok(_) => "replaced by another one",
                Err(error) if error.kind() == io::ErrorKind::NotFound => "removed or renamed",
                // Other lookup errors do not make the connection unusable.
                Err(_) => return Ok(()),
            };
            files.replaced.store(true, Ordering::Relaxed);
            files.pools.iter().for_each(WeakPoolHandle::retire_older);
            let text = format!(
                "the SQLite file {} was {what} while the pool had it open, and what was written \
                 since is in the old one; the pool opens the new one when all connections to the \
                 old one are closed",
                path.display()
            );
            Err(Error::Io(io::Error::new(io::ErrorKind::NotFound, text)))
        }));
    }

    fn open(&self) -> MutexGuard<'_, Vec<Weak<Identity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the absolute path, unless the name is a URI.
fn absolute(path: &Path) -> Option<PathBuf> {
    let is_uri = path.to_str().is_none_or(|name| name.starts_with("file:"));
    if is_uri { None } else { std::path::absolute(path).ok() }
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|found| Identity(found.dev(), found.ino()))
}

/// On other systems an open file cannot be replaced.
#[cfg(not(unix))]
fn identity(_path: &Path) -> io::Result<Identity> {
    Err(io::ErrorKind::Unsupported.into())
}
