//! `cargo xtask rivals`: the pools against each other, by the programs of `benches`; prints, writes
//! and judges.
//!
//! It builds first and measures after, one pool at a time, pinned to a core or two where `taskset`
//! is there.

mod compile;
mod goals;
mod machine;
mod page;
mod picture;
mod promises;
mod results;
mod rows;
mod table;

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::iter;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{cargo, servers};
use machine::Machine;
use results::Results;

/// How many processes share the rounds of what lasts nanoseconds. Where its memory happens to lie
/// makes one process a tenth faster or slower than the next one, for as long as it lives.
const PROCESSES: u32 = 5;

/// The arguments of `cargo xtask rivals`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Prints a line of JSON for each row and pool, and nothing else.
    #[arg(long)]
    json: bool,
    /// Runs short rounds, whose figures are not for publishing.
    #[arg(long, conflicts_with = "compile")]
    quick: bool,
    /// Writes docs/performance.md and its pictures, or docs/comparison.md with --promises.
    #[arg(long)]
    write: bool,
    /// Fails if a goal is missed.
    #[arg(long, conflicts_with = "compile")]
    check: bool,
    /// Counts the crates and times clean builds of millpond-core, deadpool and bb8 instead.
    #[arg(long)]
    compile: bool,
    /// Shows instead how the pools keep their promises when servers hang, callers leave and pools
    /// are resized.
    #[arg(long, conflicts_with_all = ["json", "quick", "check", "compile"])]
    promises: bool,
}

/// Runs the race; `Ok(false)` if a goal was asked for and not reached.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = cargo::workspace_root()?;
    if options.promises {
        return promises::run(&root, options.write).map(|()| true);
    }
    let target = cargo::target_directory(&root)?;
    let results = if options.compile {
        compile::measure(&root, &target)?
    } else {
        build(&root)?;
        race(options, &target)?
    };
    if options.json {
        let json = |line| serde_json::to_string(line).map_err(|e| format!("no JSON: {e}"));
        results.lines().iter().try_for_each(|line| json(line).map(|line| println!("{line}")))?;
    } else {
        println!("{}", table::render(&results));
    }
    match (options.write, options.compile) {
        (true, false) => page::write(&root, &results, options.quick)?,
        (true, true) => page::write_weight(&root, &results)?,
        (false, _) => {}
    }
    let judged = options.check.then(|| goals::judge(&results));
    if let Some((report, _)) = &judged {
        // Beside JSON nothing else may stand on standard output.
        if options.json { eprintln!("{report}") } else { println!("{report}") }
    }
    Ok(judged.is_none_or(|(_, reached)| reached))
}

fn build(root: &Path) -> Result<(), String> {
    let args = ["build", "--release", "--package", "benches", "--bins"];
    let status = cargo::command(root, &args)
        .status()
        .map_err(|e| format!("could not run `cargo build`: {e}"))?;
    if status.success() { Ok(()) } else { Err("the programs of `benches` do not build".to_owned()) }
}

/// Runs the programs one after the other; nothing else of ours runs meanwhile.
fn race(options: &Options, target: &Path) -> Result<Results, String> {
    let machine = Machine::here();
    eprintln!("rivals: {}", machine.pinning());
    let mut race = Race { options, target, results: Results::default(), left_out: Vec::new() };
    race.run("rivals", Some("gate"), machine.pinned_to(2))?;
    race.left_out = race.results.failed();
    for _ in 0..PROCESSES {
        race.run("rivals", Some("one"), machine.pinned_to(1))?;
        race.run("rivals", Some("two"), machine.pinned_to(2))?;
    }
    race.run("rivals_memory", None, machine.pinned_to(2))?;
    race.end_to_end()?;
    Ok(race.results.merged())
}

struct Race<'a> {
    options: &'a Options,
    target: &'a Path,
    results: Results,
    /// Who failed the gate.
    left_out: Vec<String>,
}

impl Race<'_> {
    /// Runs the rows over real databases. The servers share the machine, so nothing is pinned; what
    /// cannot be started is left out, and told.
    fn end_to_end(&mut self) -> Result<(), String> {
        let fleet = servers::for_rivals()?;
        for (kind, why) in &fleet.failures {
            eprintln!("rivals: no rows over {kind}: {why}");
        }
        self.run_with("rivals_servers", None, None, fleet.variables.iter())
    }

    /// Runs one program and reads its lines.
    fn run(
        &mut self,
        program: &str,
        part: Option<&str>,
        pinned: Option<Command>,
    ) -> Result<(), String> {
        self.run_with(program, part, pinned, iter::empty::<(&str, &str)>())
    }

    /// The same with these variables.
    fn run_with<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        &mut self,
        program: &str,
        part: Option<&str>,
        pinned: Option<Command>,
        variables: impl Iterator<Item = (K, V)>,
    ) -> Result<(), String> {
        let path = self.target.join("release").join(format!("{program}{EXE_SUFFIX}"));
        let mut command = match pinned {
            Some(mut taskset) => {
                taskset.arg(&path);
                taskset
            }
            None => Command::new(&path),
        };
        command.envs(variables);
        command.args(part);
        if program == "rivals" {
            command.args(["--processes", &PROCESSES.to_string()]);
        }
        command
            .args(self.options.quick.then_some("--quick"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        for name in &self.left_out {
            command.args(["--without", name]);
        }
        let broken = |e: std::io::Error| format!("could not run {}: {e}", path.display());
        let mut child = command.spawn().map_err(broken)?;
        let out = child.stdout.take().ok_or("the child has no standard output")?;
        for line in BufReader::new(out).lines() {
            self.results.read(&line.map_err(broken)?)?;
        }
        let status = child.wait().map_err(broken)?;
        let part = part.unwrap_or_default();
        if status.success() {
            Ok(())
        } else {
            Err(format!("`{program} {part}` ended with {status}"))
        }
    }
}
