//! The temporary directory that all servers of one start live in, and what becomes of those of dead
//! owners.
//!
//! The owner keeps a lock on its directory. The system gives it back when the owner ends, however
//! it ends, so a directory of ours that is not locked is nobody's and is removed by the next start.
//!
//! # Invariants
//!
//! 1. Who removes a directory holds its lock.
//! 2. An owner that has the lock looks whether the path still leads to what it locked; if not, it
//!    was swept in between.

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

/// The beginning of the directories' names, before some random characters.
const NAME: &str = "millpond-servers-";

/// A file system in memory: MariaDB is there in 1 s instead of 5 while the disk is busy with a
/// build.
const MEMORY: &str = "/dev/shm";

/// What must be free there, for the files of all servers and what the tests put into them. A
/// container often has less.
const MEMORY_MIN: u64 = 2 << 30;

/// How long servers that are not our children may take to end before they get a signal. Those of a
/// dead owner have got one; a server that a test has started again has not.
const EXIT_MAX: Duration = Duration::from_secs(1);

/// How long they may take then before they are killed.
const SIGNALED_EXIT_MAX: Duration = Duration::from_secs(4);

/// How long the removal is tried.
const REMOVAL_MAX: Duration = Duration::from_secs(5);

/// Ours until dropped; then it is gone, with what is in it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Directory {
    /// Makes one where `TMPDIR` says, else in memory or in `/tmp`, and removes those that nobody
    /// owns any more.
    pub fn create() -> Result<Self, String> {
        let wished = env::var_os("TMPDIR").map(PathBuf::from);
        let in_memory = PathBuf::from(MEMORY);
        let free = statvfs(&in_memory).map(|it| it.blocks_available() * it.fragment_size());
        let has_room = free.is_ok_and(|free| free >= MEMORY_MIN);
        let places = [wished, Some(in_memory).filter(|_| has_room), Some(PathBuf::from("/tmp"))];
        let places: Vec<PathBuf> = places.into_iter().flatten().collect();
        places.iter().for_each(|place| sweep(place));
        // Root's own TMPDIR may be closed to the users that the servers run as.
        let can_be_used = |place: &&PathBuf| !Uid::effective().is_root() || is_open_to_all(place);
        let none = "no directory for temporary files is open to all users";
        Self::create_in(places.iter().find(can_be_used).ok_or(none)?)
    }

    fn create_in(parent: &Path) -> Result<Self, String> {
        // Another name is tried if one is there already, or is swept before it is locked.
        let made = tempfile::Builder::new().prefix(NAME).make_in(parent, own);
        let (lock, path) = made
            .and_then(|made| made.keep().map_err(|e| e.error))
            .map_err(|e| format!("could not make a directory in {}: {e}", parent.display()))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
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

/// Whether every user may go through to this path.
fn is_open_to_all(path: &Path) -> bool {
    let is_open =
        |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    fs::canonicalize(path).is_ok_and(|path| path.ancestors().all(is_open))
}

/// Makes and locks a directory. Another process may sweep it before it is locked; this then returns
/// `AlreadyExists`, so that another name is tried.
fn own(path: &Path) -> io::Result<File> {
    DirBuilder::new().mode(0o755).create(path)?;
    let lock = match File::open(path) {
        Ok(lock) => lock,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return taken(),
        Err(e) => return Err(e),
    };
    match lock.try_lock() {
        Ok(()) if is_at(&lock, path)? => {
            // Whatever the umask says, the servers' users must get through.
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

/// Removes the directories of dead owners.
fn sweep(parent: &Path) {
    for path in ours(parent) {
        if let Some(_lock) = lock_stale(&path) {
            // One that cannot be removed is no reason not to start; the next start tries again.
            let _ = clear(&path);
        }
    }
}

/// Directories with our name. Another user's are that user's affair, and a link may lead anywhere.
fn ours(parent: &Path) -> Vec<PathBuf> {
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

/// The lock of a directory that nobody owns.
fn lock_stale(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.try_lock().ok()?;
    Some(file)
}

/// Ends the servers that still work in a directory and removes it.
fn clear(path: &Path) -> io::Result<()> {
    let ends_within =
        |limit| poll(limit, || processes::servers_within(path).is_empty().then_some(())).is_some();
    if !ends_within(EXIT_MAX) {
        // PostgreSQL ends on the one, MariaDB on the other.
        processes::signal(Signal::SIGINT, &processes::servers_within(path));
        processes::signal(Signal::SIGTERM, &processes::servers_within(path));
        if !ends_within(SIGNALED_EXIT_MAX) {
            processes::signal(Signal::SIGKILL, &processes::servers_within(path));
        }
    }
    shared_memory::remove_of_servers_within(path);
    // A process that ends may still write its last file.
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

    /// A parent of its own, for every start of servers sweeps the real one.
    fn parent() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_directory_is_swept_once_its_owner_is_gone() {
        let parent = parent();
        let parent = parent.path();
        let path = parent.join(format!("{NAME}1"));
        let lock = own(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        sweep(parent);
        assert!(path.join("file").exists(), "its owner lives");
        // A child that another test starts just now has a copy of the lock until it runs its
        // program.
        let copy_of_a_child = lock.try_clone().unwrap();
        lock.unlock().unwrap();
        drop(lock);
        sweep(parent);
        assert!(!path.exists());
        drop(copy_of_a_child);
    }

    #[test]
    fn other_names_files_and_links_are_let_alone() {
        let parent = parent();
        let parent = parent.path();
        let (other, file) = (parent.join("other"), parent.join(format!("{NAME}file")));
        fs::create_dir(&other).unwrap();
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&other, parent.join(format!("{NAME}link"))).unwrap();
        sweep(parent);
        assert!(other.exists() && file.exists());
    }

    #[test]
    fn an_owner_that_was_swept_before_it_had_the_lock_notices() {
        let parent = parent();
        let parent = parent.path();
        let path = parent.join(format!("{NAME}1"));
        fs::create_dir(&path).unwrap();
        let lock = File::open(&path).unwrap();
        sweep(parent);
        assert!(!is_at(&lock, &path).unwrap());
        fs::create_dir(&path).unwrap();
        assert!(!is_at(&lock, &path).unwrap(), "another of the same name");
    }

    #[test]
    fn dropping_it_removes_it() {
        let parent = parent();
        let parent = parent.path();
        let directory = Directory::create_in(parent).unwrap();
        let path = directory.path().to_owned();
        fs::write(path.join("file"), "").unwrap();
        drop(directory);
        assert!(!path.exists());
    }

    #[test]
    fn below_a_closed_directory_nobody_gets_through() {
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
