//! The temporary directory of all servers of this process, and the removal of directories whose
//! process is gone.
//!
//! A process holds a lock on its directory. The system releases the lock when the process ends,
//! however it ends, so an unlocked directory is stale and is removed by the next start.
//!
//! # Invariants
//!
//! 1. A directory is removed only by a process that holds its lock.
//! 2. A process that has locked its new directory checks that the path still leads to it; otherwise
//!    another process has removed it in between.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, io};

use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;
use nix::unistd::Uid;

use super::processes::{self, poll};
use super::shared_memory;

/// The prefix of the directories' names.
const NAME: &str = "millpond-servers-";

/// A file system in memory: with it MariaDB starts in 1 s instead of 5 while the disk is busy with
/// a build.
const MEMORY: &str = "/dev/shm";

/// The free space that all servers and tests need there. A container often has less.
const MEMORY_MIN: u64 = 2 << 30;

/// The time after which servers that are not child processes get a signal. Those of an ended
/// process have got one already; those that a test has restarted have not.
const EXIT_MAX: Duration = Duration::from_secs(1);

/// The time after the signal until they are killed.
const SIGNALED_EXIT_MAX: Duration = Duration::from_secs(4);

/// The time for which the removal is retried.
const REMOVAL_MAX: Duration = Duration::from_secs(5);

/// A locked directory, which is removed with its contents when this is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Directory {
    /// Creates a directory in `TMPDIR`, else in memory or in `/tmp`, and removes stale ones.
    pub fn create() -> Result<Self, String> {
        let preferred = env::var_os("TMPDIR").map(PathBuf::from);
        let in_memory = PathBuf::from(MEMORY);
        let free = statvfs(&in_memory).map(|it| it.blocks_available() * it.fragment_size());
        let has_room = free.is_ok_and(|free| free >= MEMORY_MIN);
        let memory = Some(in_memory).filter(|_| has_room);
        let parents = [preferred, memory, Some(PathBuf::from("/tmp"))];
        let parents: Vec<PathBuf> = parents.into_iter().flatten().collect();
        parents.iter().for_each(|parent| remove_stale(parent));
        // Root's own TMPDIR may be closed to the users that the servers run as.
        let is_usable = |path: &&PathBuf| !Uid::effective().is_root() || is_open_to_all(path);
        let none = "no directory for temporary files is open to all users";
        Self::create_in(parents.iter().find(is_usable).ok_or(none)?)
    }

    fn create_in(parent: &Path) -> Result<Self, String> {
        // Tries another name if a directory exists, or is removed before it is locked.
        let made = tempfile::Builder::new().prefix(NAME).make_in(parent, create_locked);
        let (lock, path) = made
            .and_then(|made| made.keep().map_err(|e| e.error))
            .map_err(|e| format!("could not create a directory in {}: {e}", parent.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(e) = clear(&self.path) {
            eprintln!("xtask: could not remove {}: {e}", self.path.display());
        }
    }
}

/// Returns true if every user can reach this path.
fn is_open_to_all(path: &Path) -> bool {
    let is_open =
        |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    fs::canonicalize(path).is_ok_and(|path| path.ancestors().all(is_open))
}

/// Creates and locks a directory. Returns `AlreadyExists`, so that another name is tried, if
/// another process has removed or locked it in between.
fn create_locked(path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o755).create(path)?;
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return taken(),
        Err(e) => return Err(e),
    };
    match lock.try_lock() {
        Ok(()) if is_at(&lock, path)? => {
            // Independently of the umask, the users of the servers must reach it.
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
            Ok(lock)
        }
        Ok(()) | Err(TryLockError::WouldBlock) => taken(),
        Err(TryLockError::Error(e)) => {
            fs::remove_dir(path)?;
            Err(e)
        }
    }
}

fn taken<T>() -> io::Result<T> {
    Err(io::ErrorKind::AlreadyExists.into())
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let here = file.metadata()?;
    Ok(fs::symlink_metadata(path)
        .is_ok_and(|there| (there.dev(), there.ino()) == (here.dev(), here.ino())))
}

/// Removes the directories whose process is gone.
fn remove_stale(parent: &Path) {
    for path in candidates(parent) {
        if let Ok(lock) = File::open(&path)
            && lock.try_lock().is_ok()
        {
            // The next start tries again to remove what this one cannot.
            let _ = clear(&path);
        }
    }
}

/// Returns this user's directories with the prefix, without symbolic links.
fn candidates(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let named = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(NAME))
        .map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let metadata = fs::symlink_metadata(path);
        metadata
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == Uid::effective().as_raw())
    };
    named.filter(is_ours).collect()
}

/// Ends the servers that still run in a directory, and removes it.
fn clear(path: &Path) -> io::Result<()> {
    let servers = || processes::servers_within(path);
    // PostgreSQL ends on INT, MariaDB on TERM.
    let signals = [Signal::SIGINT, Signal::SIGTERM];
    let steps = [(EXIT_MAX, &signals[..]), (SIGNALED_EXIT_MAX, &[Signal::SIGKILL])];
    processes::end(|| servers().is_empty(), servers, &steps);
    shared_memory::remove_of_servers_within(path);
    // An ending process may still write a file.
    let remove = || match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    poll(REMOVAL_MAX, || remove().ok()).map_or_else(remove, Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A separate parent, since every start of servers removes stale directories in the real one.
    fn parent() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_directory_is_removed_once_its_process_is_gone() {
        let parent = parent();
        let parent = parent.path();
        let path = parent.join(format!("{NAME}1"));
        let lock = create_locked(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        remove_stale(parent);
        assert!(path.join("file").exists(), "its process still runs");
        // A child that another test is starting has a copy of the lock until it runs its program.
        let copy_of_a_child = lock.try_clone().unwrap();
        lock.unlock().unwrap();
        drop(lock);
        remove_stale(parent);
        assert!(!path.exists());
        drop(copy_of_a_child);
    }

    #[test]
    fn other_names_files_and_links_are_not_touched() {
        let parent = parent();
        let parent = parent.path();
        let (other, file) = (parent.join("other"), parent.join(format!("{NAME}file")));
        fs::create_dir(&other).unwrap();
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&other, parent.join(format!("{NAME}link"))).unwrap();
        remove_stale(parent);
        assert!(other.exists() && file.exists());
    }

    #[test]
    fn a_directory_that_was_removed_before_it_was_locked_is_noticed() {
        let parent = parent();
        let parent = parent.path();
        let path = parent.join(format!("{NAME}1"));
        fs::create_dir(&path).unwrap();
        let lock = File::open(&path).unwrap();
        remove_stale(parent);
        assert!(!is_at(&lock, &path).unwrap());
        fs::create_dir(&path).unwrap();
        assert!(!is_at(&lock, &path).unwrap(), "another of the same name");
    }

    #[test]
    fn dropping_a_directory_removes_it() {
        let parent = parent();
        let parent = parent.path();
        let directory = Directory::create_in(parent).unwrap();
        let path = directory.path().to_owned();
        fs::write(path.join("file"), "").unwrap();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_below_a_closed_directory_is_not_open_to_all() {
        let parent = parent();
        let parent = parent.path();
        let inner = parent.join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(parent, Permissions::from_mode(0o700)).unwrap();
        assert!(!is_open_to_all(&inner));
        assert!(is_open_to_all(Path::new("/")));
    }
}
