//! Finds the programs of the servers, and installs the missing packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use nix::unistd::Uid;

/// Each program, and its package in Debian and Ubuntu.
const PACKAGES: [(&str, &str); 10] = [
    ("initdb", "postgresql"),
    ("postgres", "postgresql"),
    ("psql", "postgresql"),
    ("mariadb-install-db", "mariadb-server"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-admin", "mariadb-server"),
    ("pgbouncer", "pgbouncer"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-server"),
    ("setpriv", "util-linux"),
];

/// The directory of all versions of PostgreSQL in Debian.
const POSTGRES_VERSIONS: &str = "/usr/lib/postgresql";

/// Directories of daemons, which may be missing in a user's `PATH`.
const SYSTEM: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];

/// Installs the packages in its arguments without starting their services. The shell removes the
/// file that forbids that, however it or this process ends.
const INSTALL: &str = "\
set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  trap 'exit 130' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > $policy
  chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o DPkg::Lock::Timeout=300 update
apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends \"$@\"
";

/// Whether missing packages may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Install {
    /// Only if this process runs as root and `apt-get` exists.
    Allowed,
    /// Nothing is installed.
    Forbidden,
}

/// Returns the path of a program.
pub fn find(program: &str) -> Result<PathBuf, String> {
    let found = directories()
        .into_iter()
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    found.ok_or_else(|| advice(&missing(&[program])))
}

/// Returns the packages of those programs that are missing, each once.
pub fn missing(programs: &[&str]) -> Vec<&'static str> {
    let directories = directories();
    let is_there =
        |program: &str| directories.iter().any(|directory| directory.join(program).is_file());
    packages_of(programs, is_there)
}

/// Installs packages, if that is allowed and possible, after printing their names and the reason.
pub fn install(packages: &[&str], needed_by: &str, install: Install) -> Result<(), String> {
    if packages.is_empty() {
        return Ok(());
    }
    let is_forbidden = install == Install::Forbidden;
    if is_forbidden || !Uid::effective().is_root() || !Path::new("/usr/bin/apt-get").is_file() {
        return Err(advice(packages));
    }
    eprintln!("{}", announcement(packages, needed_by));
    let mut shell = Command::new("sh");
    shell.args(["-c", INSTALL, "install"]).args(packages);
    run(&mut shell, &format!("apt-get did not install {}", packages.join(" ")))
}

/// Runs a command. Its error begins with `failure` and ends with the last lines of the output.
pub fn run(command: &mut Command, failure: &str) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{failure}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n    ");
    Err(format!("{failure}, {}\n    {last}", output.status))
}

/// Returns the message before an installation: the packages and the reason.
fn announcement(packages: &[&str], needed_by: &str) -> String {
    let packages = packages.join(" ");
    format!(
        "xtask: the tests run against real servers; to start {needed_by}, these packages are \
         missing:\nxtask:   {packages}\nxtask: installing them with apt-get \
         (`cargo xtask test --no-install` leaves the machine as it is)"
    )
}

fn advice(packages: &[&str]) -> String {
    let packages = packages.join(" ");
    format!(
        "not installed: {packages}; on Debian and Ubuntu: sudo apt-get install -y \
         --no-install-recommends {packages}"
    )
}

fn packages_of(programs: &[&str], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<&str> = Vec::new();
    for program in programs.iter().filter(|program| !is_there(program)) {
        let package =
            PACKAGES.iter().find(|(name, _)| name == program).map(|(_, package)| *package);
        packages.extend(package.filter(|package| !packages.contains(package)));
    }
    packages
}

/// Returns the directories of programs. The newest PostgreSQL comes first, so that all its programs
/// are of one version.
fn directories() -> Vec<PathBuf> {
    let versions =
        fs::read_dir(POSTGRES_VERSIONS).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut directories: Vec<PathBuf> =
        newest(versions.collect()).map(|version| version.join("bin")).into_iter().collect();
    directories.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    directories.extend(SYSTEM.map(PathBuf::from));
    directories
}

/// Returns the highest version that has a server, not only a client.
fn newest(versions: Vec<PathBuf>) -> Option<PathBuf> {
    let number =
        |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions.into_iter().filter(|path| path.join("bin/postgres").is_file()).max_by_key(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    use crate::servers::kind::Kind;

    #[test]
    fn each_kind_needs_only_its_own_packages() {
        let packages = |kind: Kind| packages_of(kind.programs(), |program| program == "setpriv");
        assert_eq!(packages(Kind::Postgres), ["postgresql"]);
        assert_eq!(packages(Kind::Pgbouncer), ["postgresql", "pgbouncer"]);
        assert_eq!(packages(Kind::MariadbTls), ["mariadb-server"]);
        assert_eq!(packages(Kind::Cluster), ["redis-server"]);
        assert_eq!(packages_of(Kind::Postgres.programs(), |_| true), [""; 0]);
    }

    #[test]
    fn every_program_has_a_package() {
        let programs = Kind::value_variants().iter().flat_map(|kind| kind.programs());
        let alone = programs.filter(|program| packages_of(&[program], |_| false).is_empty());
        assert_eq!(alone.collect::<Vec<_>>(), [&""; 0]);
    }

    #[test]
    fn an_error_has_the_missing_packages_and_the_command_to_install_them() {
        let advice = advice(&["postgresql", "pgbouncer"]);
        let end = "sudo apt-get install -y --no-install-recommends postgresql pgbouncer";
        assert!(advice.ends_with(end), "{advice}");
    }

    #[test]
    fn packages_and_reason_are_printed_before_an_installation() {
        let message = announcement(&["postgresql", "pgbouncer"], "postgres, pgbouncer");
        for part in ["start postgres, pgbouncer", "  postgresql pgbouncer\n", "--no-install"] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn nothing_is_installed_if_forbidden() {
        let refused = install(&["no-such-package"], "nothing", Install::Forbidden).unwrap_err();
        assert!(refused.contains("not installed: no-such-package; on Debian"), "{refused}");
    }

    #[test]
    fn versions_are_compared_as_numbers_and_need_a_server() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for (version, program) in [("9", "postgres"), ("10", "postgres"), ("11", "psql")] {
            fs::create_dir_all(root.join(version).join("bin")).unwrap();
            fs::write(root.join(version).join("bin").join(program), "").unwrap();
        }
        let versions = ["9", "10", "11"].map(|version| root.join(version)).to_vec();
        assert_eq!(newest(versions), Some(root.join("10")));
    }
}
