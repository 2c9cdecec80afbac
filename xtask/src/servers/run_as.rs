//! The user that a server runs as.
//!
//! PostgreSQL and PgBouncer refuse to run as root, so under root each server runs as the user that
//! its package created.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};

/// The user a server runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunAs {
    /// The user that runs this program.
    Current,
    /// Another user, because this program runs as root.
    Other { name: String, uid: u32, gid: u32 },
}

impl RunAs {
    /// Returns this user if the program runs as root, else the current one.
    pub fn of(name: &str) -> Result<Self, String> {
        if !Uid::effective().is_root() {
            return Ok(Self::Current);
        }
        match User::from_name(name) {
            Ok(Some(user)) => Ok(Self::Other {
                name: name.to_owned(),
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            }),
            _ => Err(format!(
                "the user `{name}`, as which the server would run, does not exist; create it, or \
                 do not run as root"
            )),
        }
    }

    /// Returns the words to put before a program so that it runs as this user, and gets a signal
    /// when the thread that started it ends.
    pub fn prefix(&self, signal: Signal) -> Vec<String> {
        let rights = match self {
            Self::Current => String::new(),
            Self::Other { uid, gid, .. } => format!("--reuid {uid} --regid {gid} --clear-groups"),
        };
        let signal = signal.as_str().trim_start_matches("SIG");
        let words = format!("setpriv --pdeathsig {signal} {rights} --");
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// Writes a file that only this user can read.
    pub fn write(&self, path: &Path, contents: impl AsRef<[u8]>) -> Result<(), String> {
        let written = fs::write(path, contents)
            .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o600)));
        written.map_err(|e| format!("could not write {}: {e}", path.display()))?;
        self.own(path)
    }

    /// Creates a directory of this user, unless it exists. Independently of the umask, every user
    /// may enter it.
    pub fn make_directory(&self, path: &Path) -> Result<(), String> {
        let made = match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        };
        let opened = made.and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o755)));
        opened.map_err(|e| format!("could not create {}: {e}", path.display()))?;
        self.own(path)
    }

    fn own(&self, path: &Path) -> Result<(), String> {
        match self {
            Self::Current => Ok(()),
            Self::Other { name, uid, gid } => chown(path, Some(*uid), Some(*gid))
                .map_err(|e| format!("could not give {} to `{name}`: {e}", path.display())),
        }
    }
}
