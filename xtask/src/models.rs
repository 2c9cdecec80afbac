//! `cargo xtask models`: tries and counts every interleaving of a few threads in the core.
//!
//! The models are tests of `millpond-core` that exist only under `--cfg millpond_models`, where its
//! locks and atomics are loom's. They have a separate target directory, because the flag changes
//! every crate's build.

use std::path::Path;

use crate::cargo;

/// Runs the models; `Ok(false)` if one found a violation. The last line is the sum.
pub fn run(root: &Path) -> Result<bool, String> {
    let target = cargo::metadata(root)?.target_directory.join("models");
    let args = ["test", "--quiet", "--profile", "sim", "--package", "millpond-core", "--lib"];
    let mut command = cargo::command(root, &args);
    command.args(["--", "--nocapture", "proof::models"]).env("CARGO_TARGET_DIR", target);
    command.env("RUSTFLAGS", "--cfg millpond_models");
    let (mut models, mut sum) = (0, 0);
    let is_success = cargo::read_lines(&mut command, |line| {
        if let Some(count) = interleavings(line) {
            (models, sum) = (models + 1, sum + count);
            println!("{line}");
        }
    })?;
    let violations = if is_success { "0 violations" } else { "a violation, shown above" };
    println!("{sum} interleavings in {models} models, {violations}");
    Ok(is_success && models > 0)
}

/// Returns the number of interleavings that a model reports on this line. The dots of a quiet test
/// run may precede it.
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
