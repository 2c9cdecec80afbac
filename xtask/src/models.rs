//! `cargo xtask models`: every order in which a few threads can meet in the core's hand-off, tried
//! and counted.
//!
//! The models are tests of `millpond-core` that exist only under `--cfg millpond_models`, where its
//! locks and atomics are loom's. They have a target directory of their own, since that flag builds
//! everything anew.

use std::path::Path;

use crate::cargo;

/// Runs them; `Ok(false)` if one found a violation. The last line is the sum.
pub fn run() -> Result<bool, String> {
    check(&cargo::workspace_root()?)
}

/// The same for `cargo xtask test`.
pub fn check(root: &Path) -> Result<bool, String> {
    let target = cargo::target_directory(root)?.join("models");
    let args = ["test", "--quiet", "--profile", "sim", "--package", "millpond-core", "--lib"];
    let mut command = cargo::command(root, &args);
    command.args(["--", "--nocapture", "proof::models"]).env("CARGO_TARGET_DIR", target);
    command.env("RUSTFLAGS", "--cfg millpond_models");
    let (mut models, mut sum) = (0, 0);
    let well = cargo::read_lines(&mut command, |line| {
        if let Some(count) = interleavings(line) {
            (models, sum) = (models + 1, sum + count);
            println!("{line}");
        }
    })?;
    let violations = if well { "0 violations" } else { "a violation: it stands above" };
    println!("{sum} interleavings in {models} models, {violations}");
    Ok(well && models > 0)
}

/// How many orders a model has tried, if the line says so. The dots of a quiet test run may stand
/// before it.
fn interleavings(line: &str) -> Option<u64> {
    let count = line.split_once(" interleavings: ")?.0;
    count.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_models_are_counted_and_no_others() {
        for (line, count) in [
            ("3159 interleavings: close against acquire and return", Some(3159)),
            ("..70409 interleavings: return against cancel", Some(70409)),
            ("test proof::models::a_close ... ok", None),
        ] {
            assert_eq!(interleavings(line), count);
        }
    }
}
