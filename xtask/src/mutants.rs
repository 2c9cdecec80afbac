//! `cargo xtask mutants`: breaks the core in every small way there is, and lists what no test
//! notices.
//!
//! [cargo-mutants](https://mutants.rs) does the work, as `.cargo/mutants.toml` says; it is installed
//! into the target directory if it is missing. Its results are kept in `target/mutants`: a run may
//! be interrupted and continued, and skips what was caught before.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo;

/// The percentage of mutants that must be noticed.
const GOAL: usize = 90;

/// The arguments of `cargo xtask mutants`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The files of the core, such as `engine/close`; all that decide if none is named.
    files: Vec<String>,
    /// One part of all mutants, from 0/5 to 4/5, for example on another machine.
    #[arg(long)]
    shard: Option<String>,
    /// Forgets the results of earlier runs.
    #[arg(long)]
    anew: bool,
}

/// Tests the mutants; `Ok(false)` if fewer than [`GOAL`] percent are noticed. The last line is the
/// sum.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = cargo::workspace_root()?;
    let target = cargo::target_directory(&root)?;
    let shard = options.shard.as_ref().map(|shard| shard.replace('/', "-of-"));
    let output = target.join("mutants").join(shard.unwrap_or_default());
    if options.anew {
        let _ = fs::remove_dir_all(&output);
    }
    fs::create_dir_all(&output).map_err(|e| format!("could not make {}: {e}", output.display()))?;
    let mut command = Command::new(cargo::tool(&root, "mutants")?);
    command.args(["mutants", "--package", "millpond-core", "--colors", "never", "--output"]);
    command.arg(&output).current_dir(&root);
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("RUST_BACKTRACE", "0");
    match &options.shard {
        // A part is done in one go: with `--iterate` it would be a part of what is left.
        Some(shard) => command.args(["--shard", shard]),
        None => command.arg("--iterate"),
    };
    for file in &options.files {
        command.args(["--file", &format!("crates/millpond-core/src/{file}.rs")]);
    }
    let status = command.status().map_err(|e| format!("could not run cargo-mutants: {e}"))?;
    // 2: some were missed; 3: some timed out.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        return Err(format!("cargo-mutants ended with {status}"));
    }
    let (line, share) = sum(&output.join("mutants.out"));
    println!("{line}");
    Ok(share >= GOAL)
}

/// The sum of a run, and the percentage of mutants that were noticed.
fn sum(results: &Path) -> (String, usize) {
    let lines = |file| fs::read_to_string(results.join(file)).unwrap_or_default().lines().count();
    // What was caught in earlier runs stands in a file of its own.
    let caught = lines("caught.txt") + lines("previously_caught.txt");
    let [hang, alive, unviable] = ["timeout.txt", "missed.txt", "unviable.txt"].map(lines);
    let viable = caught + hang + alive;
    let share = ((viable - alive) * 100).checked_div(viable).unwrap_or(100);
    let counts =
        format!("{caught} mutants caught, {hang} hang, {alive} alive, {unviable} unviable");
    (format!("{counts}: {share} % noticed"), share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compiled_counts_for_neither_side() {
        let results = tempfile::tempdir().unwrap();
        for (file, lines) in
            [("caught.txt", 2), ("timeout.txt", 1), ("missed.txt", 1), ("unviable.txt", 7)]
        {
            fs::write(results.path().join(file), "x\n".repeat(lines)).unwrap();
        }
        let line = "2 mutants caught, 1 hang, 1 alive, 7 unviable: 75 % noticed";
        assert_eq!(sum(results.path()), (line.to_owned(), 75));
    }
}
