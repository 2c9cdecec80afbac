//! Finds, builds and runs the programs of this package and others.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the directory of the workspace's `Cargo.toml`.
pub fn workspace_root() -> PathBuf {
    // Read at run time: a copy of the repository may share its target directory with the original.
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    manifest_dir.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Returns cargo's target directory, which contains this program.
pub fn target_directory() -> Result<PathBuf, String> {
    let here = env::current_exe().map_err(|e| format!("could not find this program: {e}"))?;
    here.ancestors().nth(2).map(Path::to_path_buf).ok_or("this program lies nowhere".to_owned())
}

/// Returns the path of a program of this package in a build profile.
pub fn program(profile: &str, name: &str) -> Result<PathBuf, String> {
    Ok(target_directory()?.join(profile).join(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

/// Returns a command for the cargo that started this program, in a directory.
pub fn cargo(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(args).current_dir(directory).stdin(Stdio::null());
    // Some build scripts read cargo's variables for this package, and would run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Builds programs of this package.
pub fn build(root: &Path, args: &[&str]) -> Result<(), String> {
    let mut command = cargo(root, &["build", "--package", "benches"]);
    let status = command.args(args).status().map_err(|e| format!("could not run cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err("the programs of `benches` do not build".to_owned()) }
}

/// Returns a command that runs its arguments while servers of these kinds are running. Servers that
/// cannot be started are reported and skipped.
pub fn with_servers(kinds: &[&str]) -> Command {
    let mut command = cargo(&workspace_root(), &["xtask", "servers", "--lenient"]);
    command.args(kinds).arg("--");
    command
}

/// Runs a command and passes each line of its output to `read`.
pub fn read_lines(
    mut command: Command,
    mut read: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let broken = |e: std::io::Error| format!("could not run a program of `benches`: {e}");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(broken)?;
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        read(&line.map_err(broken)?)?;
    }
    let status = child.wait().map_err(broken)?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} ended with {status}")) }
}
