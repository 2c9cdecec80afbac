//! `cargo xtask mutants`: the core is broken in every small way there is, and some test has to notice each.
//!
//! [cargo-mutants](https://mutants.rs) makes the mutants; it is installed into the target directory if it is not there. They
//! are made in a copy of the workspace that stays, with what was built there: a mutant costs a small build. Each is judged
//! by the unit tests and a short simulation, where they know its file, and if they let it live by the tests of `tests/it` and
//! then by the conformance suite: some seconds each.
//! What was found is kept, a dozen mutants at a time, until their file is changed: so a run may be ended and taken up again,
//! and `--part 2/5` does a fifth of it, on another machine for example. `--again` judges those that are alive once more, when
//! there are new tests; `--anew` forgets everything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo;

/// The files that decide who gets what.
const FILES: [&str; 14] = [
    "ledger",
    "ledger/effects",
    "engine/checkout",
    "engine/checkin",
    "engine/close",
    "engine/drain",
    "engine/maintenance",
    "engine/acquire",
    "ledger/fast_path",
    "ledger/grant",
    "ledger/wait_queue",
    "ledger/slots",
    "ledger/growth",
    "ledger/expiry",
];

/// Those of which the unit tests and the simulator see nothing.
const OUTSIDE: [&str; 6] =
    ["engine/checkout", "engine/checkin", "engine/close", "engine/drain", "engine/maintenance", "engine/acquire"];

/// The tests of `tests/it` that take longer than most: they judge last, and only what is alive by then.
const SLOW: [&str; 8] = [
    "books::",
    "cancel::an_acquire",
    "null_pool::thousands",
    "outage::ten_thousand",
    "queue::a_burst",
    "queue::twenty_five",
    "resize::however",
    "threads::sixty_four",
];

/// Types of ours for which constructors are guessed that they do not have: such mutants are never viable.
const GUESSED: [&str; 7] =
    ["Claim::", "PooledConnection::", "Homecoming::", "Lease::", "Poll::", "Stand::", "Ticket::"];

/// How many of a hundred mutants have to be killed.
const GOAL: usize = 90;

/// How many mutants are judged before their verdicts are kept.
const PORTION: usize = 12;

/// After how many seconds a judge who has come to no verdict is ended; the mutant hangs then, which counts as noticed.
const PATIENCE: &str = "30";

/// What became of a mutant, and the file of cargo-mutants that says so.
const VERDICTS: [(Verdict, &str); 4] = [
    (Verdict::Killed, "caught.txt"),
    (Verdict::Hangs, "timeout.txt"),
    (Verdict::Alive, "missed.txt"),
    (Verdict::Unviable, "unviable.txt"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// A test failed.
    Killed,
    /// The tests came to no end.
    Hangs,
    /// No test has noticed.
    Alive,
    /// It cannot be compiled.
    Unviable,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    effort: Effort,
    /// Which part of how many, from 1 on.
    part: (usize, usize),
    /// Only these files.
    files: Vec<&'static str>,
}

/// What is done of what was done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effort {
    /// Nothing.
    Rest,
    /// Those that were alive.
    Survivors,
    Everything,
}

impl Options {
    /// Reads the arguments after `mutants`.
    ///
    /// # Errors
    ///
    /// When there is one that is neither an option nor a file.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self { effort: Effort::Rest, part: (1, 1), files: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match (FILES.iter().find(|file| *file == arg), arg.as_str()) {
                (Some(file), _) => options.files.push(file),
                (None, "--anew") => options.effort = Effort::Everything,
                (None, "--again") => options.effort = Effort::Survivors,
                (None, "--part") => {
                    let part = args.next().and_then(|part| read_part(part));
                    options.part = part.ok_or("`--part` wants something like 2/5")?;
                }
                _ => return Err(format!("`mutants` knows no `{arg}`; the files are {}", FILES.join(", "))),
            }
        }
        if options.files.is_empty() {
            options.files = FILES.to_vec();
        }
        Ok(options)
    }
}

fn read_part(text: &str) -> Option<(usize, usize)> {
    let (part, of) = text.split_once('/')?;
    let (part, of) = (part.parse().ok()?, of.parse().ok()?);
    (1..=of).contains(&part).then_some((part, of))
}

/// Judges the mutants; `Ok(false)` if fewer than [`GOAL`] percent are noticed. The last line is the sum.
///
/// # Errors
///
/// When the tool cannot be had or does not work.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = cargo::workspace_root()?;
    let target = cargo::target_directory(&root)?;
    let bench = Bench { tool: tool(&root, &target)?, place: target.join("mutants") };
    copy(&root, &bench.copy())?;
    let (mut all, mut portions, mut passed) = (Vec::new(), 0, false);
    for file in &options.files {
        let names = bench.names(file)?;
        let count = names.len().div_ceil(PORTION);
        if bench.is_outdated(file) || options.effort == Effort::Everything && options.part.0 == 1 {
            let _ = fs::remove_dir_all(bench.results(file));
        }
        let mut verdicts = Vec::new();
        for (portion, names) in names.chunks(PORTION).enumerate() {
            let results = bench.results(file).join(format!("{portion}-of-{count}"));
            let mine = portions % options.part.1 == options.part.0 - 1;
            portions += 1;
            if mine && bench.is_wanted(&results, options.effort) {
                if !passed {
                    bench.pass()?;
                    passed = true;
                }
                bench.judge(file, names, &results, options.effort)?;
            }
            verdicts.extend(read(&results));
        }
        println!("{file}.rs: {}", sum(&verdicts));
        verdicts.iter().filter(|(verdict, _)| *verdict == Verdict::Alive).for_each(|(_, name)| println!("    {name}"));
        all.extend(verdicts);
    }
    println!("{}", sum(&all));
    Ok(share(&all) >= GOAL)
}

fn count(verdicts: &[(Verdict, String)], wanted: Verdict) -> usize {
    verdicts.iter().filter(|(verdict, _)| *verdict == wanted).count()
}

/// How many of a hundred were noticed.
fn share(verdicts: &[(Verdict, String)]) -> usize {
    let viable = verdicts.len() - count(verdicts, Verdict::Unviable);
    ((viable - count(verdicts, Verdict::Alive)) * 100).checked_div(viable).unwrap_or(100)
}

fn sum(verdicts: &[(Verdict, String)]) -> String {
    let of = |wanted| count(verdicts, wanted);
    let (killed, hang, alive) = (of(Verdict::Killed), of(Verdict::Hangs), of(Verdict::Alive));
    let share = share(verdicts);
    let (all, unviable) = (verdicts.len(), of(Verdict::Unviable));
    format!("{all} mutants, {unviable} unviable, {killed} killed, {hang} hang, {alive} alive: {share} % noticed")
}

/// The verdicts that were kept.
fn read(results: &Path) -> Vec<(Verdict, String)> {
    let of = |(verdict, name): (Verdict, &str)| lines(&results.join(name)).into_iter().map(move |line| (verdict, line));
    VERDICTS.into_iter().flat_map(of).collect()
}

/// Where mutants are made and judged.
struct Bench {
    tool: PathBuf,
    place: PathBuf,
}

impl Bench {
    /// The workspace that is mutated.
    fn copy(&self) -> PathBuf {
        self.place.join("workspace")
    }

    fn results(&self, file: &str) -> PathBuf {
        self.place.join("results").join(file)
    }

    fn source(&self, file: &str) -> PathBuf {
        self.copy().join(path(file))
    }

    /// Whether the file was changed since its mutants were judged.
    fn is_outdated(&self, file: &str) -> bool {
        fs::read(self.results(file).join("source.rs")).ok() != fs::read(self.source(file)).ok()
    }

    /// The mutants of a file.
    fn names(&self, file: &str) -> Result<Vec<String>, String> {
        let output =
            self.command(file).arg("--list").output().map_err(|e| format!("could not run cargo-mutants: {e}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.lines().filter(|name| !is_guessed(name)).map(str::to_owned).collect())
    }

    /// Whether a portion has to be judged, or judged again.
    fn is_wanted(&self, results: &Path, effort: Effort) -> bool {
        match effort {
            Effort::Rest => !is_done(results),
            Effort::Survivors => !is_done(results) || !lines(&results.join("missed.txt")).is_empty(),
            Effort::Everything => true,
        }
    }

    /// The judges themselves: they must have nothing against what was not mutated.
    fn pass(&self) -> Result<(), String> {
        let mut command = cargo::command(&self.copy(), &["test", "--quiet", "--package", "millpond-core"]);
        self.prepare(&mut command);
        let output = command.args(["--lib", "--test", "it", "--test", "conformance"]).output();
        let output = output.map_err(|e| format!("could not run `cargo test`: {e}"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() { Ok(()) } else { Err(format!("without any mutant the tests fail:\n{said}")) }
    }

    /// Judges a portion of a file's mutants, each only for as long as it is alive.
    fn judge(&self, file: &str, names: &[String], results: &Path, effort: Effort) -> Result<(), String> {
        if effort == Effort::Everything || !is_done(results) {
            let _ = fs::remove_dir_all(results);
        }
        fs::create_dir_all(results).map_err(|e| format!("could not make {}: {e}", results.display()))?;
        let mut said = read(results);
        said.retain(|(verdict, _)| *verdict != Verdict::Alive);
        let units = if OUTSIDE.contains(&file) { None } else { Some(vec!["--lib"]) };
        let skips = SLOW.iter().flat_map(|test| ["--skip", test]);
        let quick = ["--test", "it", "--"].into_iter().chain(skips).collect();
        let slow = ["--test", "it", "--"].into_iter().chain(SLOW).collect();
        let is_judged = |said: &[(Verdict, String)], name: &String| said.iter().any(|(_, other)| other == name);
        for tests in units.into_iter().chain([quick, slow, vec!["--test", "conformance"]]) {
            let alive: Vec<&String> = names.iter().filter(|name| !is_judged(&said, name)).collect();
            if alive.is_empty() {
                break;
            }
            self.mutate(file, &alive, results, &tests)?;
            said.extend(read(&results.join("mutants.out")));
            said.retain(|(verdict, _)| *verdict != Verdict::Alive);
        }
        let alive = names.iter().filter(|name| !is_judged(&said, name));
        let alive: Vec<_> = alive.map(|name| (Verdict::Alive, name.clone())).collect();
        said.extend(alive);
        for (verdict, name) in VERDICTS {
            keep(&results.join(name), &said, |other| other == verdict)?;
        }
        fs::copy(self.source(file), self.results(file).join("source.rs")).map(drop).map_err(|e| format!("{file}: {e}"))
    }

    /// Has these mutants judged by these tests.
    fn mutate(&self, file: &str, names: &[&String], results: &Path, tests: &[&str]) -> Result<(), String> {
        let mut command = self.command(file);
        command.args(["--in-place", "--baseline", "skip", "--timeout", PATIENCE, "--no-shuffle", "--colors", "never"]);
        // Not by `--shard`: with `--iterate` that is a share of what is left, and of other mutants each time.
        names.iter().for_each(|name| _ = command.arg("--re").arg(only(name)));
        let status = command.arg("--output").arg(results).arg("--").args(tests).status();
        let status = status.map_err(|e| format!("could not run cargo-mutants: {e}"))?;
        // 2: some were missed; 3: some came to no verdict in time.
        match status.code() {
            Some(0 | 2 | 3) => Ok(()),
            _ => Err(format!("cargo-mutants ended with {status}")),
        }
    }

    fn command(&self, file: &str) -> Command {
        let mut command = Command::new(&self.tool);
        command.arg("mutants").current_dir(self.copy()).stdin(Stdio::null());
        command.args(["--package", "millpond-core", "--file"]).arg(path(file));
        self.prepare(&mut command);
        command
    }

    /// Has it build in one directory, or each portion would build everything, and without debug information, which takes
    /// half as long.
    fn prepare(&self, command: &mut Command) {
        command.env("CARGO_TARGET_DIR", self.place.join("target")).env("CARGO_PROFILE_DEV_DEBUG", "0");
        command.env("RUST_BACKTRACE", "0");
    }
}

/// Whether a mutant cannot be compiled for certain.
fn is_guessed(name: &str) -> bool {
    let replacement = name.split_once(" with ").map_or("", |(_, replacement)| replacement);
    GUESSED.iter().any(|guess| replacement.contains(guess))
}

/// The regular expression of one mutant's name.
fn only(name: &str) -> String {
    let mut expression = "^".to_owned();
    for char in name.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(char) {
            expression.push('\\');
        }
        expression.push(char);
    }
    expression + "$"
}

/// Whether the verdicts of a portion were kept.
fn is_done(results: &Path) -> bool {
    results.join("unviable.txt").exists()
}

fn path(file: &str) -> String {
    format!("crates/millpond-core/src/{file}.rs")
}

/// Brings the copy of the workspace up to date. What has not changed is not touched, so that it need not be built again.
fn copy(root: &Path, copy: &Path) -> Result<(), String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed = git.output().map_err(|e| format!("could not run git: {e}"))?;
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let (from, to) = (root.join(name), copy.join(name));
        let Ok(content) = fs::read(&from) else { continue };
        if fs::read(&to).is_ok_and(|there| there == content) {
            continue;
        }
        let made = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&to, content));
        made.map_err(|e| format!("could not write {}: {e}", to.display()))?;
    }
    Ok(())
}

fn keep(file: &Path, verdicts: &[(Verdict, String)], wanted: impl Fn(Verdict) -> bool) -> Result<(), String> {
    let names = verdicts.iter().filter(|(verdict, _)| wanted(*verdict));
    let names: String = names.map(|(_, name)| format!("{name}\n")).collect();
    fs::write(file, names).map_err(|e| format!("could not write {}: {e}", file.display()))
}

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn files_are_named_by_their_room() {
        let all = parse(&["engine/close", "--anew"]).unwrap();
        assert_eq!(all, Options { effort: Effort::Everything, part: (1, 1), files: vec!["engine/close"] });
        assert_eq!(parse(&[]).unwrap().files.len(), FILES.len());
        assert!(parse(&["ledger.rs"]).unwrap_err().contains("ledger, ledger/effects"));
    }

    #[test]
    fn a_part_is_one_of_so_many() {
        assert_eq!(parse(&["--part", "2/5"]).unwrap().part, (2, 5));
        for wrong in ["0/5", "6/5", "5", "x/5"] {
            assert!(parse(&["--part", wrong]).unwrap_err().contains("2/5"));
        }
    }

    #[test]
    fn what_nobody_could_compile_is_left_out() {
        assert!(is_guessed("src/a.rs:1:2: replace claim -> Claim<C> with Claim::new()"));
        assert!(!is_guessed("src/a.rs:1:2: replace claim -> Option<Claim<C>> with None"));
    }

    #[test]
    fn a_mutant_is_chosen_by_its_name_and_by_nothing_like_it() {
        let name = "src/a.rs:1:2: replace Pool<C>::is -> Option<u8> with Some(0)";
        assert_eq!(only(name), r"^src/a\.rs:1:2: replace Pool<C>::is \-> Option<u8> with Some\(0\)$");
    }

    #[test]
    fn what_cannot_be_compiled_counts_for_neither_side() {
        let verdicts = [Verdict::Killed, Verdict::Hangs, Verdict::Alive, Verdict::Killed, Verdict::Unviable];
        let verdicts: Vec<_> = verdicts.into_iter().map(|verdict| (verdict, String::new())).collect();
        assert_eq!(sum(&verdicts), "5 mutants, 1 unviable, 2 killed, 1 hang, 1 alive: 75 % noticed");
    }
}
