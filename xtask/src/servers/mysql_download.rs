//! MySQL's server: Debian has it in unstable alone, and it cannot be installed beside MariaDB.
//!
//! So its packages, and those of the libraries that it needs, are downloaded and unpacked into a
//! directory of their own; the machine's packages stay as they are. apt checks what it downloads
//! against the lists that Debian has signed. That happens once; remove the directory to have a
//! newer server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::{env, io};

use nix::unistd::Uid;

use super::packages::{self, Install};
use super::run_as::RunAs;

/// The directory of the server, within ours in the cache.
const NAME: &str = "mysql";

/// Downloads and unpacks within the working directory, which is empty. The program runs the server
/// with the loader and the libraries of its own distribution; it is the loader's name by which the
/// process is known as a server of ours.
const DOWNLOAD: &str = r#"
set -eu
umask 022
mkdir -p apt/lists/partial apt/archives/partial mysql/loader
: > apt/status
signed='signed-by=/usr/share/keyrings/debian-archive-keyring.gpg'
echo "deb [$signed] http://deb.debian.org/debian sid main" > apt/sources
cat > apt/conf << END
Dir::State::lists "$PWD/apt/lists";
Dir::State::status "$PWD/apt/status";
Dir::Cache "$PWD/apt";
Dir::Etc::sourcelist "$PWD/apt/sources";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "15";
Debug::NoLocking "1";
END
export APT_CONFIG="$PWD/apt/conf"
apt-get -q update
apt-get -q -y --download-only --no-install-recommends install mysql-server-core
for package in apt/archives/*.deb; do dpkg-deb -x "$package" mysql; done
ln -s "$(cd mysql/loader && echo ../usr/lib/*-linux-gnu*/ld-linux*)" mysql/loader/mysqld
cat > mysql/mysqld << 'END'
#!/bin/sh
here=${0%/*}
libraries=$(echo "$here"/usr/lib/*-linux-gnu*)
# One that was killed leaves a lock, and counts as alive until its parent has asked how it ended.
for option; do case $option in --socket=*) rm -f "${option#*=}.lock";; esac; done
set -- "$here"/usr/sbin/mysqld "$@" --basedir="$here"/usr
exec "$here"/loader/mysqld --library-path "$libraries" "$@"
END
chmod +x mysql/mysqld
"#;

/// How long that may take, in seconds: three on a good line, and a run of all tests must not wait
/// for a bad one.
const DOWNLOAD_MAX: &str = "120";

/// Where the program is.
pub fn mysqld() -> Result<PathBuf, String> {
    let program = cache()?.join(NAME).join("mysqld");
    let missing = "MySQL is not there: `cargo xtask servers mysql` downloads it";
    program.is_file().then_some(program).ok_or_else(|| missing.to_owned())
}

/// Downloads it unless it is there.
pub fn provide(install: Install) -> Result<(), String> {
    if mysqld().is_ok() || install == Install::Forbidden {
        return mysqld().map(drop);
    }
    let cache = cache()?;
    let failed = |e: io::Error| format!("could not keep MySQL in {}: {e}", cache.display());
    fs::create_dir_all(cache.parent().unwrap_or(&cache)).map_err(failed)?;
    RunAs::Current.make_directory(&cache)?;
    let lock = File::create(cache.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if mysqld().is_ok() {
        // Another process has done it meanwhile.
        return Ok(());
    }
    eprintln!("xtask: downloading MySQL from Debian unstable into {}", cache.display());
    let work = cache.join("download");
    let _ = fs::remove_dir_all(&work);
    RunAs::Current.make_directory(&work)?;
    let mut shell = Command::new("timeout");
    shell.args([DOWNLOAD_MAX, "sh", "-c", DOWNLOAD]).current_dir(&work);
    let outcome = packages::run(&mut shell, "could not download MySQL from Debian unstable")
        .and_then(|()| fs::rename(work.join(NAME), cache.join(NAME)).map_err(failed));
    let _ = fs::remove_dir_all(&work);
    outcome
}

/// Our directory in the user's cache. Root's own may be closed to the user that the server runs as.
fn cache() -> Result<PathBuf, String> {
    if Uid::effective().is_root() {
        return Ok("/var/cache/millpond".into());
    }
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.map(|cache| cache.join("millpond")).ok_or_else(|| "HOME is not set".to_owned())
}
