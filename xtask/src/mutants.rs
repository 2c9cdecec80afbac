//! `cargo xtask mutants`: breaks the core in every small way there is, and lists what no test
//! notices.
//!
//! [cargo-mutants](https://mutants.rs) does the work; it is installed into the target directory if
//! it is missing. Its results are kept in `target/mutants`: a run may be interrupted and continued,
//! and skips what was caught before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo;

/// The files that decide which caller gets which connection.
const FILES: [&str; 17] = [
    "ledger/state",
    "ledger/claim",
    "ledger/settle",
    "ledger/control",
    "ledger/idle",
    "ledger/effects",
    "engine/checkout",
    "engine/checkin",
    "engine/close",
    "engine/drain",
    "engine/maintenance",
    "engine/acquire",
    "ledger/fast_path",
    "ledger/wait_queue",
    "ledger/slots",
    "ledger/growth",
    "ledger/expiry",
];

/// The percentage of mutants that must be noticed.
const GOAL: usize = 90;

/// The seconds after which a test run counts as hanging, which is noticed.
const TIMEOUT: &str = "60";

/// The arguments of `cargo xtask mutants`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The files of the core, such as `engine/close`; all that decide if none is named.
    #[arg(value_parser = FILES)]
    files: Vec<String>,
    /// One part of all mutants, such as 2/5, for example on another machine.
    #[arg(long, value_parser = part)]
    part: Option<(usize, usize)>,
    /// Forgets the results of earlier runs.
    #[arg(long)]
    anew: bool,
}

fn part(text: &str) -> Result<(usize, usize), String> {
    let numbers =
        text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    numbers
        .filter(|(part, of)| (1..=*of).contains(part))
        .ok_or_else(|| "write something like 2/5".to_owned())
}

/// Tests the mutants; `Ok(false)` if fewer than [`GOAL`] percent are noticed. The last line is the
/// sum.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = cargo::workspace_root()?;
    let target = cargo::target_directory(&root)?;
    let output = match options.part {
        Some((part, of)) => target.join(format!("mutants/{part}-of-{of}")),
        None => target.join("mutants"),
    };
    if options.anew {
        let _ = fs::remove_dir_all(&output);
    }
    fs::create_dir_all(&output).map_err(|e| format!("could not make {}: {e}", output.display()))?;
    let mut command = Command::new(tool(&root, &target)?);
    command
        .arg("mutants")
        .current_dir(&root)
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("RUST_BACKTRACE", "0");
    command
        .args(["--package", "millpond-core", "--timeout", TIMEOUT, "--colors", "never", "--output"])
        .arg(&output);
    match options.part {
        // A part is done in one go: with `--iterate` it would be a part of what is left.
        Some((part, of)) => command.args(["--shard", &format!("{}/{of}", part - 1)]),
        None => command.arg("--iterate"),
    };
    let files = FILES
        .iter()
        .filter(|file| options.files.is_empty() || options.files.iter().any(|it| it == *file));
    files.for_each(|file| {
        _ = command.args(["--file", &format!("crates/millpond-core/src/{file}.rs")])
    });
    command.args(["--", "--lib", "--test", "it", "--test", "conformance"]);
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
    let count =
        |file: &str| fs::read_to_string(results.join(file)).unwrap_or_default().lines().count();
    // What was caught in earlier runs stands in a file of its own.
    let caught = count("caught.txt") + count("previously_caught.txt");
    let (hang, alive, unviable) =
        (count("timeout.txt"), count("missed.txt"), count("unviable.txt"));
    let viable = caught + hang + alive;
    let share = ((viable - alive) * 100).checked_div(viable).unwrap_or(100);
    (
        format!(
            "{caught} mutants caught, {hang} hang, {alive} alive, {unviable} unviable: \
             {share} % noticed"
        ),
        share,
    )
}

/// The path of the tool; installs it if it is missing.
fn tool(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let tools = target.join("tools");
    let ours = tools.join("bin/cargo-mutants");
    let works = |tool: &PathBuf| {
        let mut command = Command::new(tool);
        command.args(["mutants", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if let Some(found) = [PathBuf::from("cargo-mutants"), ours.clone()].into_iter().find(works) {
        return Ok(found);
    }
    let mut install = cargo::command(root, &["install", "cargo-mutants", "--locked", "--root"]);
    let status =
        install.arg(&tools).status().map_err(|e| format!("could not run `cargo install`: {e}"))?;
    if status.success() { Ok(ours) } else { Err("cargo-mutants cannot be installed".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_of_a_number() {
        assert_eq!(part("2/5"), Ok((2, 5)));
        assert!(["0/5", "6/5", "5", "x/5"].iter().all(|wrong| part(wrong).is_err()));
    }

    #[test]
    fn what_cannot_be_compiled_counts_for_neither_side() {
        let results = std::env::temp_dir().join(format!("xtask-mutants-{}", std::process::id()));
        fs::create_dir_all(&results).unwrap();
        for (file, lines) in
            [("caught.txt", 2), ("timeout.txt", 1), ("missed.txt", 1), ("unviable.txt", 7)]
        {
            fs::write(results.join(file), "x\n".repeat(lines)).unwrap();
        }
        assert_eq!(
            sum(&results),
            ("2 mutants caught, 1 hang, 1 alive, 7 unviable: 75 % noticed".to_owned(), 75)
        );
        fs::remove_dir_all(&results).unwrap();
    }
}
