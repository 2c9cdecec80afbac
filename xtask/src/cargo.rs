//! Calls cargo, and finds the workspace.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// The directory of the workspace's `Cargo.toml`.
pub fn workspace_root() -> Result<PathBuf, String> {
    // Read at run time: a copy of the repository may share its target directory with the original.
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = manifest_dir.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    root.ok_or_else(|| "CARGO_MANIFEST_DIR is not set: run it as `cargo xtask`".to_owned())
}

/// Returns a command for the cargo that runs this program, in `root`, without standard input.
pub fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root).stdin(Stdio::null());
    remove_package_variables(&mut command);
    command
}

/// Runs a `cargo test`, calls `read` with each line of its output, and returns true if it succeeds.
pub fn read_lines(command: &mut Command, mut read: impl FnMut(&str)) -> Result<bool, String> {
    let broken = |e: io::Error| format!("could not run `cargo test`: {e}");
    command.env("RUST_BACKTRACE", "0").stdout(Stdio::piped());
    let mut child = command.spawn().map_err(broken)?;
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        read(&line.map_err(broken)?);
    }
    child.wait().map(|status| status.success()).map_err(broken)
}

/// Returns the path of a cargo subcommand, after installing it into the target directory if it is
/// missing.
pub fn tool(root: &Path, name: &str) -> Result<PathBuf, String> {
    let (tools, package) =
        (metadata(root)?.target_directory.join("tools"), format!("cargo-{name}"));
    let ours = tools.join("bin").join(&package);
    let works = |tool: &PathBuf| {
        let mut command = Command::new(tool);
        command.args([name, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if let Some(found) = [PathBuf::from(&package), ours.clone()].into_iter().find(works) {
        return Ok(found);
    }
    let mut install = command(root, &["install", &package, "--locked", "--root"]);
    let status = install.arg(&tools).status().map_err(|e| format!("could not run cargo: {e}"))?;
    if status.success() { Ok(ours) } else { Err(format!("{package} cannot be installed")) }
}

/// Removes cargo's variables about the package xtask from a command. Build scripts such as ring's
/// read them, so half of the workspace would be rebuilt when a build by hand follows one by xtask.
pub fn remove_package_variables(command: &mut Command) {
    let is_ours =
        |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)) {
        command.env_remove(name);
    }
}

/// A package, as `cargo metadata` describes it.
#[derive(Debug, Default, Deserialize)]
pub struct Package {
    pub name: String,
    pub manifest_path: String,
    pub dependencies: Vec<Dependency>,
    pub targets: Vec<Target>,
}

/// A dependency of a package; its kind is `dev`, `build` or none.
#[derive(Debug, Deserialize)]
pub struct Dependency {
    pub name: String,
    pub kind: Option<String>,
}

/// The root file of a library, program, test, example, bench or build script.
#[derive(Debug, Deserialize)]
pub struct Target {
    pub src_path: String,
}

/// The members of the workspace, with the names of their dependencies, and cargo's directory.
#[derive(Deserialize)]
pub struct Metadata {
    pub packages: Vec<Package>,
    pub target_directory: PathBuf,
}

/// Returns the output of `cargo metadata`.
pub fn metadata(root: &Path) -> Result<Metadata, String> {
    let args = ["metadata", "--format-version=1", "--no-deps"];
    let output = command(root, &args)
        .output()
        .map_err(|e| format!("could not run `cargo metadata`: {e}"))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let message = message.trim();
        return Err(format!("`cargo metadata` failed; fix the manifest that it names: {message}"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|e| format!("`cargo metadata` has another format than expected: {e}"))
}

/// A message of cargo about a target that it has built.
#[derive(Deserialize)]
struct Built {
    target: Target,
    executable: Option<PathBuf>,
}

/// Builds the tests with these arguments and returns the program of a package's integration tests.
pub fn test_program(root: &Path, args: &[&str], package: &Path) -> Result<Option<PathBuf>, String> {
    let mut command = command(root, args);
    command.args(["--no-run", "--message-format=json"]).stderr(Stdio::null());
    let output = command.output().map_err(|e| format!("could not run `cargo test`: {e}"))?;
    let main = package.join("tests/it/main.rs");
    let mut built = output.stdout.split(|byte| *byte == b'\n').filter_map(|line| {
        let built: Built = serde_json::from_slice(line).ok()?;
        built.executable.filter(|_| Path::new(&built.target.src_path) == main)
    });
    Ok(built.next())
}
