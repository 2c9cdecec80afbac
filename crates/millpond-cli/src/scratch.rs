//! The demo's database file: in a temporary directory that is removed, or in a file that is kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{SystemTime, UNIX_EPOCH};

/// How many times removing a directory is tried.
const ATTEMPTS: u32 = 10;

/// The path of a database file. A temporary directory is removed on drop, with the file's
/// companions (`-wal`, `-shm`).
#[derive(Debug)]
pub struct Scratch {
    file: PathBuf,
    directory: Option<PathBuf>,
}

impl Scratch {
    /// Creates a new directory among the system's temporary files that only the current user may
    /// enter.
    ///
    /// # Errors
    ///
    /// Returns an error if the directory cannot be created.
    pub fn temporary() -> io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let directory = std::env::temp_dir().join(format!("millpond-demo-{}-{now}", process::id()));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&directory)?;
        Ok(Self { file: directory.join("demo.db"), directory: Some(directory) })
    }

    /// Uses a file that is kept.
    ///
    /// # Errors
    ///
    /// Returns an error if the file exists: the demo writes into no database that it has not
    /// created.
    pub fn kept(path: &Path) -> io::Result<Self> {
        if path.try_exists()? {
            let message = format!(
                "{} exists already, and the demo writes into no database that it has not created",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        Ok(Self { file: path.to_owned(), directory: None })
    }

    /// Returns the path of the database file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Removes the temporary directory, if there is one. May be called more than once.
    pub fn remove(&self) {
        if let Some(directory) = &self.directory {
            // SQLite may create a file there while the others are removed. If that goes on, the
            // directory is left to the system.
            let gone = |_: &u32| fs::remove_dir_all(directory).is_ok() || !directory.exists();
            let _ = (0..ATTEMPTS).find(gone);
        }
    }

    /// Returns true if the file is kept.
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
    fn a_temporary_directory_is_removed_with_its_files() {
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
