//! How this crate calls cargo, and where the workspace lies.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The directory of the workspace's `Cargo.toml`.
///
/// # Errors
///
/// When not started by cargo, which alone knows the place.
pub fn workspace_root() -> Result<PathBuf, String> {
    // Asked at run time: a copy of the repository may share its target directory with the original.
    let manifest_dir = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let root = manifest_dir.as_deref().and_then(Path::parent).map(Path::to_path_buf);
    root.ok_or_else(|| "CARGO_MANIFEST_DIR is not set: run it as `cargo xtask`".to_owned())
}

/// The cargo that started us, in the root, with nothing to read.
pub fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root).stdin(Stdio::null());
    keep_from(&mut command);
    command
}

/// Keeps from a command what cargo has told us of our own package. Build scripts look at it, ring's for one, and half of the
/// workspace would be built once more whenever a build by hand follows one of ours.
pub fn keep_from(command: &mut Command) {
    let is_ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_ours)) {
        command.env_remove(name);
    }
}

/// What cargo knows of the members of the workspace; their dependencies are named but not resolved.
///
/// # Errors
///
/// When cargo cannot be run or refuses a manifest.
pub fn metadata(root: &Path) -> Result<Value, String> {
    let args = ["metadata", "--format-version=1", "--no-deps"];
    let output = command(root, &args).output().map_err(|e| format!("could not run `cargo metadata`: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("`cargo metadata` failed; repair the manifest it names: {}", said.trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|e| format!("`cargo metadata` printed no JSON: {e}"))
}

/// Where cargo puts what it builds.
///
/// # Errors
///
/// When cargo does not say.
pub fn target_directory(root: &Path) -> Result<PathBuf, String> {
    let metadata = metadata(root)?;
    let target = metadata.get("target_directory").and_then(Value::as_str);
    target.map(PathBuf::from).ok_or_else(|| "`cargo metadata` names no target directory".to_owned())
}
