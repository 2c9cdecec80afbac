//! `cargo xtask test`: every check of the workspace one after the other, and a closing line that
//! counts them.
//!
//! A check that is not a test binary (tidy, fmt, clippy, sim, models, doc) counts as one test. No
//! check's failure stops the next one. The last line is always `N passed, N failed, N skipped`,
//! where each test is counted once: one that printed `SKIP` is skipped, not passed. Nothing but
//! failures and skips stands between the last check and that line.
//!
//! The database servers that the tests need run beside them. One that cannot be started is a skip,
//! or, where `CI` is set, a failure: there, a test that silently has no server is a test that is
//! never run. MySQL is always a skip: it comes from another distribution, which may be out of
//! order.

mod tally;
mod transcript;

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::servers::{self, Foreground, Install, Servers};
use crate::{cargo, tidy};
use tally::Tally;
use transcript::Transcript;

/// The arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Runs the tests alone, without the other checks.
    #[arg(long)]
    fast: bool,
    /// Runs without the database servers that the tests need.
    #[arg(long)]
    no_servers: bool,
    /// Installs no packages for these servers.
    #[arg(long)]
    no_install: bool,
    /// Passed to the test binaries, such as a part of a test's name.
    #[arg(last = true)]
    filter: Vec<String>,
}

/// One check: its name, and the action that performs it.
struct Step {
    name: &'static str,
    run: fn(&Path, &Options) -> Result<Tally, String>,
}

const TESTS: Step = step("tests", run_tests);
const STEPS: [Step; 7] = [
    step("tidy", |root, _| Ok(Tally::one("tidy", tidy::report(root)?, "repair what it names"))),
    step("fmt", |root, _| {
        let command = cargo::command(root, &["fmt", "--all", "--check"]);
        check("fmt", command, "run `cargo fmt --all`")
    }),
    step("clippy", |root, _| check("clippy", cargo::command(root, CLIPPY), "repair what it names")),
    TESTS,
    step("sim", |root, _| {
        Ok(Tally::one("sim", crate::sim::check(root)?, "run the command that stands above"))
    }),
    step("models", |root, _| {
        Ok(Tally::one("models", crate::models::check(root)?, "run `cargo xtask models`"))
    }),
    step("doc", |root, _| check("doc", doc(root), "repair what it names")),
];
const fn step(name: &'static str, run: fn(&Path, &Options) -> Result<Tally, String>) -> Step {
    Step { name, run }
}

const TEST: &[&str] = &["test", "--workspace", "--all-features"];
/// A passing test's SKIP line is captured otherwise. The transcript hides the rest of that output.
const SHOW: &str = "--show-output";
const CLIPPY: &[&str] =
    &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];

/// Runs the steps and prints the closing line; true when all is well.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = cargo::workspace_root()?;
    let timed = env::var_os("CI").is_some();
    let steps = if options.fast { &[TESTS] } else { &STEPS[..] };
    let mut total = Tally::default();
    for step in steps {
        say(&format!("==> {}", step.name));
        let started = Instant::now();
        let tally = (step.run)(&root, options).unwrap_or_else(|why| {
            say(&why);
            Tally::one(step.name, false, &why)
        });
        if timed {
            say(&format!("==> {} took {:.1} s", step.name, started.elapsed().as_secs_f64()));
        }
        total.add(tally);
    }
    say(&total.summary());
    Ok(total.is_success())
}

/// Runs one command that is right or wrong as a whole; what it prints goes straight through.
fn check(name: &str, mut command: Command, cure: &str) -> Result<Tally, String> {
    let status = command.status().map_err(|e| format!("could not start `cargo {name}`: {e}"))?;
    Ok(Tally::one(name, status.success(), cure))
}

fn doc(root: &Path) -> Command {
    let mut command = cargo::command(root, &["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// Runs every test binary and the doctests, showing what matters as it comes.
fn run_tests(root: &Path, options: &Options) -> Result<Tally, String> {
    let mut tally = Tally::default();
    let install = if options.no_install { Install::Forbidden } else { Install::Allowed };
    let servers = if options.no_servers { None } else { start_servers(root, install, &mut tally)? };
    let alone = Foreground::default();
    let foreground = servers.as_ref().map_or(&alone, Servers::foreground);
    let variables = servers.iter().flat_map(|servers| servers.variables.iter());
    let mut command = cargo::command(root, &[TEST, &["--no-fail-fast", "--", SHOW]].concat());
    command.args(&options.filter).envs(variables);
    let mut transcript = Transcript::default();
    let mut is_success = follow(&mut command, foreground, &mut transcript)?;
    if let Some(mut command) = again_on_mysql(root, servers.as_ref())? {
        command.arg(SHOW).args(&options.filter);
        say("     Running tests/it/main.rs of millpond-mysql (mysql)");
        is_success &= follow(&mut command, foreground, &mut transcript)?;
    }
    tally.add(transcript.finish(is_success));
    Ok(tally)
}

/// Runs tests, showing what matters as it comes; whether all is well.
fn follow(
    command: &mut Command,
    foreground: &Foreground,
    transcript: &mut Transcript,
) -> Result<bool, String> {
    let broken = |e: io::Error| format!("could not run the tests: {e}");
    // One pipe for both streams: cargo names the binaries on stderr, and the order must hold.
    let (reader, writer) = io::pipe().map_err(broken)?;
    command.stdout(writer.try_clone().map_err(broken)?).stderr(writer);
    foreground.start(command).map_err(broken)?;
    // The command still holds our writers; with them open the pipe would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut lines = BufReader::new(reader);
    let mut bytes = Vec::new();
    while lines.read_until(b'\n', &mut bytes).map_err(broken)? > 0 {
        let text = String::from_utf8_lossy(&bytes);
        let line = text.trim_end_matches(['\n', '\r']);
        if transcript.shows(line) {
            say(line);
        }
        bytes.clear();
    }
    foreground.wait().map(|status| status.success()).map_err(broken)
}

/// The tests of millpond-mysql once more, which take MySQL itself where there is no MariaDB.
fn again_on_mysql(root: &Path, servers: Option<&Servers>) -> Result<Option<Command>, String> {
    let Some(servers) = servers.filter(|servers| servers.variables.get("MYSQL_URL").is_some())
    else {
        return Ok(None);
    };
    // By its path, since cargo would build it anew for one package alone.
    let home = root.join("crates/millpond-mysql");
    let program = cargo::test_program(root, TEST, &home)?;
    let mut command = Command::new(program.ok_or("the tests of millpond-mysql were not built")?);
    cargo::forbid(&mut command);
    command.current_dir(home).stdin(Stdio::null());
    command.envs(servers.variables.iter());
    let of_mariadb = |name: &&str| name.starts_with("MILLPOND_TEST_MARIADB_");
    for name in servers.variables.iter().map(|(name, _)| name).filter(of_mariadb) {
        command.env_remove(name);
    }
    Ok(Some(command))
}

/// Starts the servers that the crates of the workspace need, and prints those that cannot be
/// started.
fn start_servers(
    root: &Path,
    install: Install,
    tally: &mut Tally,
) -> Result<Option<Servers>, String> {
    let crates: Vec<String> =
        cargo::packages(root)?.into_iter().map(|package| package.name).collect();
    let started = Instant::now();
    let servers = servers::for_tests_of(&crates, install)?;
    if let Some(servers) = &servers {
        say(&format!("==> servers ready in {:.1} s", started.elapsed().as_secs_f64()));
        for (kind, why) in &servers.failures {
            say(&format!("servers: {kind}: {why}"));
            let must_be_there = env::var_os("CI").is_some() && !kind.is_mysql();
            add_missing(tally, &kind.to_string(), why, must_be_there);
        }
    }
    Ok(servers)
}

/// One server is not there.
fn add_missing(tally: &mut Tally, kind: &str, why: &str, must_be_there: bool) {
    let reason = why.lines().next().unwrap_or_default();
    if must_be_there {
        tally.fail(format!("servers: {kind}: {reason}"));
    } else {
        tally.skips.push(format!("SKIP servers: {kind}: {reason}"));
    }
}

/// Prints a line at once, so that it keeps its place among what the children print.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // A reader that has gone away is no reason to stop checking.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_missing_is_a_skip_but_in_ci_a_failure() {
        let mut tally = Tally::default();
        add_missing(&mut tally, "mariadb", "not installed: mariadb-server\n    a log", false);
        assert!(tally.is_success());
        assert_eq!(tally.skips, ["SKIP servers: mariadb: not installed: mariadb-server"]);
        add_missing(&mut tally, "mariadb", "not installed: mariadb-server", true);
        assert_eq!((tally.failed, tally.skips.len()), (1, 1));
    }
}
