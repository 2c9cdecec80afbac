//! `cargo xtask rivals`: the pools against each other, by the programs of `benches`; prints, writes and judges.
//!
//! It builds first and measures after, one pool at a time, pinned to a core or two where `taskset` is there.

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

/// How many processes share the rounds of what lasts nanoseconds. Where its memory happens to lie makes one process a tenth faster
/// or slower than the next one, for as long as it lives.
const PROCESSES: u32 = 5;

/// What was asked for.
#[derive(Debug, Default, PartialEq)]
pub struct Options {
    /// Prints a line of JSON for each row and pool, and nothing else.
    json: bool,
    /// Short rounds: for a look, not for figures to publish.
    quick: bool,
    /// Writes `docs/performance.md` and its pictures.
    write: bool,
    /// Fails if a goal is not reached.
    check: bool,
    /// Counts crates and times clean builds instead of anything else.
    compile: bool,
    /// Shows what becomes of promises instead of anything else.
    promises: bool,
}

impl Options {
    /// Reads the arguments after `rivals`.
    ///
    /// # Errors
    ///
    /// When there is one that it does not know.
    pub fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for arg in args {
            let option = match arg.as_str() {
                "--json" => &mut options.json,
                "--quick" => &mut options.quick,
                "--write" => &mut options.write,
                "--check" => &mut options.check,
                "--compile" => &mut options.compile,
                "--promises" => &mut options.promises,
                other => return Err(format!("`rivals` has no option `{other}`")),
            };
            *option = true;
        }
        if options.compile && (options.check || options.quick) {
            return Err("`rivals --compile` builds and times nothing else: no `--check`, no `--quick`".to_owned());
        }
        if options.promises && (options.check || options.quick || options.compile || options.json) {
            return Err("`rivals --promises` takes `--write` and nothing else".to_owned());
        }
        Ok(options)
    }
}

/// Runs the race; `Ok(false)` if a goal was asked for and not reached.
///
/// # Errors
///
/// When something cannot be built, run, read or written.
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
        results.lines().iter().for_each(|line| println!("{}", line.to_json()));
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
    let status = cargo::command(root, &args).status().map_err(|e| format!("could not run `cargo build`: {e}"))?;
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
    /// Runs the rows over real databases. The servers share the machine, so nothing is pinned; what cannot be started is left
    /// out, and told.
    fn end_to_end(&mut self) -> Result<(), String> {
        let fleet = servers::for_rivals()?;
        for (kind, why) in &fleet.failures {
            eprintln!("rivals: no rows over {kind}: {why}");
        }
        self.run_with("rivals_servers", None, None, fleet.variables.iter())
    }

    /// Runs one program and reads its lines.
    fn run(&mut self, program: &str, part: Option<&str>, pinned: Option<Command>) -> Result<(), String> {
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
        command.args(self.options.quick.then_some("--quick")).stdin(Stdio::null()).stdout(Stdio::piped());
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
        if status.success() { Ok(()) } else { Err(format!("`{program} {part}` ended with {status}")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_may_be_combined() {
        let options = parse(&["--quick", "--json"]).unwrap();
        assert_eq!(options, Options { quick: true, json: true, ..Options::default() });
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        assert!(parse(&["--fast"]).unwrap_err().contains("--fast"));
    }

    #[test]
    fn nothing_is_timed_beside_a_build() {
        assert!(parse(&["--compile", "--check"]).unwrap_err().contains("no `--check`"));
    }
}
