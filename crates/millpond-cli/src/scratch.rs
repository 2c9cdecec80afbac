//! Where the demo's database stands: a directory of its own that goes away with it, or a file that
//! stays.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// How often the removal of a directory is tried.
const ATTEMPTS: u32 = 10;

/// The path of a database file. A directory of our own is removed on drop, the file's companions
/// (`-wal`, `-shm`) with it.
#[derive(Debug)]
pub struct Scratch {
    file: PathBuf,
    directory: Option<PathBuf>,
}

impl Scratch {
    /// A new directory among the system's temporary files, which nobody else may enter.
    ///
    /// # Errors
    ///
    /// Those of creating a directory.
    pub fn temporary() -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let directory = std::env::temp_dir().join(format!("millpond-demo-{}-{now}", process::id()));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory)?;
        Ok(Self { file: directory.join("demo.db"), directory: Some(directory) })
    }

    /// A file that stays.
    ///
    /// # Errors
    ///
    /// If it exists: the demo writes into no database that it has not made.
    pub fn kept(path: &Path) -> io::Result<Self> {
        if path.try_exists()? {
            let message = format!(
                "{} exists already, and the demo writes into no database that it has not made",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(Self { file: path.to_owned(), directory: None })
    }

    /// The database file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Removes what is temporary. May be called more than once.
    pub fn remove(&self) {
        if let Some(directory) = &self.directory {
            // SQLite may put a file there while the others go. If it does not end, the directory is
            // left to the system.
            let gone = |_: &u32| fs::remove_dir_all(directory).is_ok() || !directory.exists();
            let _ = (0..ATTEMPTS).find(gone);
        }
    }

    /// Whether the file stays.
    pub fn is_kept(&self) -> bool {
        self.directory.is_none()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_goes_away_with_all_that_is_in_it() {
        let scratch = Scratch::temporary().unwrap();
        let file = scratch.file().to_owned();
        fs::write(&file, "x").unwrap();
        fs::write(file.with_extension("db-wal"), "x").unwrap();
        drop(scratch);
        assert!(!file.parent().unwrap().exists());
    }

    #[test]
    fn a_file_that_exists_is_left_alone() {
        let scratch = Scratch::temporary().unwrap();
        fs::write(scratch.file(), "precious").unwrap();
        assert!(Scratch::kept(scratch.file()).unwrap_err().to_string().contains("exists already"));
        assert_eq!(fs::read(scratch.file()).unwrap(), b"precious");
    }
}
