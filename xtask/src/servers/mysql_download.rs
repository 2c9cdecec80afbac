//! Downloads MySQL, which Debian has only in unstable and which conflicts with MariaDB's packages.
//!
//! Its packages and those of its libraries are downloaded and unpacked into a directory in the
//! cache, without changing the machine's packages. apt verifies the download against Debian's
//! signed lists. This is done once; remove the directory to get a newer server.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::{env, io};

use nix::unistd::Uid;

use super::packages::{self, Install};
use super::run_as::RunAs;

/// The directory of the server within the cache.
const NAME: &str = "mysql";

/// Downloads and unpacks in the empty working directory. `mysqld` runs the server with the loader
/// and libraries of its distribution. The loader is named `mysqld` too, because that is the name of
/// the process.
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
# A killed server leaves a lock, whose process exists until it is reaped.
for option; do case $option in --socket=*) rm -f "${option#*=}.lock";; esac; done
set -- "$here"/usr/sbin/mysqld "$@" --basedir="$here"/usr
exec "$here"/loader/mysqld --library-path "$libraries" "$@"
END
chmod +x mysql/mysqld
"#;

/// The time limit of the download in seconds; it usually takes three.
const DOWNLOAD_MAX: &str = "120";

/// Returns the path of the server.
pub fn mysqld() -> Result<PathBuf, String> {
    let program = cache()?.join(NAME).join("mysqld");
    let missing = "MySQL is not downloaded; `cargo xtask servers mysql` downloads it";
    program.is_file().then_some(program).ok_or_else(|| missing.to_owned())
}

/// Downloads the server if it is missing.
pub fn provide(install: Install) -> Result<(), String> {
    if mysqld().is_ok() || install == Install::Forbidden {
        return mysqld().map(drop);
    }
    let cache = cache()?;
    let failed = |e: io::Error| format!("could not store MySQL in {}: {e}", cache.display());
    fs::create_dir_all(cache.parent().unwrap_or(&cache)).map_err(failed)?;
    RunAs::Current.make_directory(&cache)?;
    let lock = File::create(cache.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if mysqld().is_ok() {
        // Another process has downloaded it in between.
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

/// Returns millpond's directory in the user's cache. Under root it is elsewhere, because root's
/// home may be closed to the user that the server runs as.
fn cache() -> Result<PathBuf, String> {
    if Uid::effective().is_root() {
        return Ok("/var/cache/millpond".into());
    }
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.map(|cache| cache.join("millpond")).ok_or_else(|| "HOME is not set".to_owned())
}
