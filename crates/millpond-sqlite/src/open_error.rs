//! Explains why a file could not be opened: SQLite's own message names neither the file nor the
//! reason.

use crate::error_class::cannot_open;
use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Error};
use std::borrow::Cow;
use std::env;
use std::error::Error as StdError;
use std::fmt;
use std::fs;
use std::io;
use std::path::{self, Component, Path, PathBuf};

/// Adds the file, and what the file system knows about it, to an error of SQLite; returns other
/// errors unchanged.
pub(crate) fn open_error(
    error: Error,
    options: &SqliteConnectOptions,
    path: &DatabasePath,
) -> Error {
    let looked_up = cannot_open(&error);
    let Error::Database(database_error) = error else { return error };
    let file = options.get_filename();
    let reason = (looked_up && !is_uri(file)).then(|| reason(file, &path.asked, mode(options)));
    let reason = reason.flatten();
    let reason = match reason {
        // Keeps SQLite's own words, so that they can be looked up.
        Some(reason) => format!(
            "{reason} (code: {}, {})",
            database_error.code().unwrap_or_default(),
            database_error.message()
        ),
        None => database_error.to_string(),
    };
    let text = format!("cannot open the SQLite file {}: {reason}", path.shown);
    Error::Database(Box::new(OpenError { text, database_error }))
}

/// An SQLite error with its code and message, and a text that names the file.
#[derive(Debug)]
struct OpenError {
    text: String,
    database_error: Box<dyn DatabaseError>,
}

/// The path of a database file, as given and in absolute form.
pub(crate) struct DatabasePath {
    asked: PathBuf,
    /// The absolute path, and what it was resolved from.
    shown: String,
}

impl DatabasePath {
    /// Returns the path in the options; a relative path is resolved against the working directory.
    pub(crate) fn of(options: &SqliteConnectOptions) -> Self {
        let asked = options.get_filename();
        let shown = match (path::absolute(asked), env::current_dir()) {
            (Ok(absolute), Ok(here)) if asked.is_relative() && !is_uri(asked) => format!(
                "{} (from {}, relative to {})",
                absolute.display(),
                asked.display(),
                here.display()
            ),
            _ => asked.display().to_string(),
        };
        Self { asked: asked.to_owned(), shown }
    }
}

/// Returns what is wrong with the file, if the file system shows it.
fn reason(file: &Path, asked: &Path, mode: &str) -> Option<String> {
    let directory = file.parent().unwrap_or(file);
    match fs::metadata(file) {
        Ok(found) if found.is_dir() => Some("it is a directory".to_owned()),
        Ok(found) if found.is_file() => {
            (!may_read(file)).then(|| "this process has no permission to read it".to_owned())
        }
        Ok(_) => Some("it is not a regular file".to_owned()),
        Err(error) if denied(&error) => Some(format!(
            "this process has no permission to read the directory {}",
            directory.display()
        )),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let file = directory.ancestors().find(|path| path.is_file())?;
            Some(format!("{} is not a directory", file.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = if asked.starts_with("~") {
                "; ~ is not the home directory here: write its path".to_owned()
            } else {
                absolute_candidate(asked).map(hint).unwrap_or_default()
            };
            Some(missing(directory, mode) + &hint)
        }
        Err(_) => None,
    }
}

/// Returns true if this process may read a file. The file is not opened: when a process closes a
/// file, it loses the locks that SQLite holds on it.
#[cfg(unix)]
fn may_read(file: &Path) -> bool {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let asked = accessat(CWD, file, Access::READ_OK, AtFlags::EACCESS);
    asked != Err(rustix::io::Errno::ACCESS)
}

/// On other systems closing a file loses no locks.
#[cfg(not(unix))]
fn may_read(file: &Path) -> bool {
    !fs::File::open(file).is_err_and(|error| denied(&error))
}

fn denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Returns why a file that does not exist was not created.
fn missing(directory: &Path, mode: &str) -> String {
    let shown = directory.display();
    if !directory.exists() {
        return format!("the directory {shown} does not exist");
    }
    match mode {
        "rwc" => format!(
            "it does not exist, and cannot be created: may this process write to the \
             directory {shown}?"
        ),
        _ => format!("the file does not exist, and mode={mode} does not create it"),
    }
}

/// Returns the same path from the root, if that was probably meant: it exists, or its directory
/// does.
fn absolute_candidate(asked: &Path) -> Option<PathBuf> {
    let root = Path::new("/");
    let mut from_root = root.to_owned();
    for part in asked.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => from_root.push(name),
            Component::Prefix(_) | Component::RootDir | Component::ParentDir => return None,
        }
    }
    // The root itself always exists, so its existence is no evidence.
    let likely =
        from_root.exists() || from_root.parent().is_some_and(|path| path != root && path.is_dir());
    likely.then_some(from_root)
}

fn hint(from_root: PathBuf) -> String {
    let path = from_root.display().to_string().replace('%', "%25").replace('?', "%3F");
    format!("; three slashes are relative here; write sqlite:///{path}")
}

/// Returns the `mode` of the options, which sqlx shows only as part of a URL.
fn mode(options: &SqliteConnectOptions) -> &'static str {
    // With another file name, since sqlx panics on file names that cannot be part of a URL.
    let url = options.clone().filename("/x").to_url_lossy();
    let mode = url.query_pairs().find(|(name, _)| name == "mode");
    match mode.as_ref().map(|(_, mode)| &**mode) {
        Some("ro") => "ro",
        Some("rw") => "rw",
        _ => "rwc",
    }
}

/// Returns true if SQLite reads the name as a URI instead of a path.
pub(crate) fn is_uri(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("file:"))
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for OpenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.database_error.as_error())
    }
}

impl DatabaseError for OpenError {
    fn message(&self) -> &str {
        self.database_error.message()
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.database_error.code()
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        self.database_error.kind()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use sqlx::{ConnectOptions, raw_sql};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[tokio::test]
    async fn to_explain_an_error_takes_no_lock_from_the_connections_of_the_process() {
        let path = env::temp_dir().join(format!("millpond-sqlite-locks-{}.db", std::process::id()));
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut conn = options.connect().await.unwrap();
        raw_sql("CREATE TABLE t (i); BEGIN IMMEDIATE").execute(&mut conn).await.unwrap();
        // Other users may not read the file.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let inode = format!(":{} ", fs::metadata(&path).unwrap().ino());
        let is_locked = || fs::read_to_string("/proc/locks").unwrap().contains(&inode);
        assert!(is_locked(), "the transaction has a lock");
        assert_eq!(reason(&path, &path, "rwc"), None, "there is nothing wrong with it");
        assert!(is_locked(), "another process could write now");
        drop(conn);
        fs::remove_file(path).unwrap();
    }
}
