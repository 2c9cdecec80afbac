//! `cargo xtask mutants`: the core is broken in every small way there is, and some test has to notice each.
//!
//! [cargo-mutants](https://mutants.rs) makes the mutants, in a copy of the workspace; it is installed into the target
//! directory if it is not there. Each is judged by the unit tests and the simulator first, which takes seconds, and what they
//! let live by the tests of `tests/it`. A file is done as a whole and then kept, so a run may be ended and taken up again;
//! `--anew` forgets what was found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo;

/// The files that decide who gets what.
const FILES: [&str; 13] = [
    "ledger",
    "grant",
    "queue",
    "fresh",
    "aftermath",
    "demand",
    "sweep",
    "slots",
    "acquire",
    "checkout",
    "checkin",
    "close",
    "keeper",
];

/// How many of a hundred mutants have to be killed.
const GOAL: usize = 90;

/// After how many seconds a judge who has come to no verdict is ended; the mutant counts as killed then.
const PATIENCE: &str = "60";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Forgets what earlier runs have found.
    anew: bool,
    /// Only these files.
    files: Vec<&'static str>,
}

/// What became of the mutants of a file.
#[derive(Debug, Default)]
struct Verdicts {
    killed: usize,
    survivors: Vec<String>,
}

impl Options {
    /// Reads the arguments after `mutants`.
    ///
    /// # Errors
    ///
    /// When there is one that is neither an option nor a file.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            match FILES.iter().find(|file| *file == arg) {
                Some(file) => options.files.push(file),
                None if arg == "--anew" => options.anew = true,
                None => return Err(format!("`mutants` knows no `{arg}`; the files are {}", FILES.join(", "))),
            }
        }
        if options.files.is_empty() {
            options.files = FILES.to_vec();
        }
        Ok(options)
    }
}

/// Judges the mutants; `Ok(false)` if fewer than [`GOAL`] percent are killed. The last line is the sum.
///
/// # Errors
///
/// When the tool cannot be had or does not work.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = cargo::workspace_root()?;
    let target = cargo::target_directory(&root)?;
    let tool = tool(&root, &target)?;
    let (mut killed, mut all) = (0, 0);
    for file in &options.files {
        let verdicts = judge(&root, &target.join("mutants"), &tool, file, options.anew)?;
        let of_file = verdicts.killed + verdicts.survivors.len();
        println!("{file}.rs: {} of {of_file} killed", verdicts.killed);
        verdicts.survivors.iter().for_each(|mutant| println!("    alive: {mutant}"));
        (killed, all) = (killed + verdicts.killed, all + of_file);
    }
    println!("{killed} of {all} mutants killed, {} %", (killed * 100).checked_div(all).unwrap_or(0));
    Ok(killed * 100 >= all * GOAL)
}

/// Where the tool is; installs it if it is nowhere.
fn tool(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let named = PathBuf::from("cargo-mutants");
    let works = |tool: &Path| {
        let mut command = Command::new(tool);
        command.args(["mutants", "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let tools = target.join("tools");
    let ours = tools.join("bin/cargo-mutants");
    if let Some(found) = [named, ours.clone()].into_iter().find(|tool| works(tool)) {
        return Ok(found);
    }
    let mut install = cargo::command(root, &["install", "cargo-mutants", "--locked", "--root"]);
    let status = install.arg(&tools).status().map_err(|e| format!("could not run `cargo install`: {e}"))?;
    if status.success() { Ok(ours) } else { Err("cargo-mutants cannot be installed".to_owned()) }
}

/// Judges the mutants of one file, unless that was done before.
fn judge(root: &Path, results: &Path, tool: &Path, file: &str, anew: bool) -> Result<Verdicts, String> {
    let output = results.join(file);
    let kept = |name: &str| output.join(name);
    if anew || !kept("survivors.txt").exists() {
        fs::create_dir_all(&output).map_err(|e| format!("could not make {}: {e}", output.display()))?;
        mutate(root, tool, &output, file, &["--lib"], false)?;
        let quick = lines(&output, "mutants.out/caught.txt");
        if lines(&output, "mutants.out/missed.txt").len() + lines(&output, "mutants.out/timeout.txt").len() > 0 {
            mutate(root, tool, &output, file, &["--test", "it"], true)?;
        }
        let found = |name| lines(&output, name);
        let mut killed = [quick, found("mutants.out/caught.txt"), found("mutants.out/timeout.txt")].concat();
        killed.sort();
        killed.dedup();
        let write = |name: &str, lines: &[String]| {
            fs::write(kept(name), lines.join("\n"))
                .map_err(|e| format!("could not write {}: {e}", kept(name).display()))
        };
        write("killed.txt", &killed)?;
        write("survivors.txt", &found("mutants.out/missed.txt"))?;
    }
    Ok(Verdicts { killed: lines(&output, "killed.txt").len(), survivors: lines(&output, "survivors.txt") })
}

/// Has the mutants judged by these tests: all, or those that were not caught before.
fn mutate(root: &Path, tool: &Path, output: &Path, file: &str, tests: &[&str], rest: bool) -> Result<(), String> {
    let mut command = Command::new(tool);
    command.arg("mutants").current_dir(root).stdin(Stdio::null());
    command.args(["--package", "millpond-core", "--timeout", PATIENCE, "--no-shuffle", "--colors", "never"]);
    command.arg("--file").arg(format!("crates/millpond-core/src/{file}.rs")).arg("--output").arg(output);
    command.args(rest.then_some("--iterate")).arg("--").args(tests);
    // The copy has a target directory of its own, or the mutants would be mixed up with us.
    let status = command.env_remove("CARGO_TARGET_DIR").status();
    let status = status.map_err(|e| format!("could not run cargo-mutants: {e}"))?;
    // 2: some were missed; 3: some came to no verdict in time.
    match status.code() {
        Some(0 | 2 | 3) => Ok(()),
        _ => Err(format!("cargo-mutants ended with {status}; do the tests pass?")),
    }
}

fn lines(output: &Path, name: &str) -> Vec<String> {
    let text = fs::read_to_string(output.join(name)).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_without_their_directory() {
        let parse = |args: &[&str]| Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&["close", "--anew"]), Ok(Options { anew: true, files: vec!["close"] }));
        assert_eq!(parse(&[]).unwrap().files.len(), FILES.len());
        assert!(parse(&["ledger.rs"]).unwrap_err().contains("ledger, grant"));
    }
}
