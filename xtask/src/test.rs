//! `cargo xtask test`: runs all checks of the workspace and counts their results.
//!
//! A check that is not a test binary (tidy, fmt, clippy, sim, models, doc) counts as one test. A
//! failed check does not stop the next one. The last line is always `N passed, N failed, N
//! skipped`, preceded by the failures and skips. Each test is counted once: a test that printed
//! `SKIP` is skipped, not passed.
//!
//! The database servers that the tests need are started first. A server that cannot be started is a
//! skip, or a failure if `CI` is set, since its tests would otherwise never run. MySQL is always a
//! skip: it is downloaded from another distribution, which may be unavailable.

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
    /// Runs only the tests.
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

/// A check: its name, and the function that runs it.
type Step = (&'static str, fn(&Path, &Options) -> Result<Tally, String>);

const TESTS: Step = ("tests", run_tests);
const STEPS: [Step; 7] = [
    ("tidy", |root, _| Ok(Tally::one("tidy", tidy::run(root)?, "fix what it names"))),
    ("fmt", |root, _| {
        let command = cargo::command(root, &["fmt", "--all", "--check"]);
        check("fmt", command, "run `cargo fmt --all`")
    }),
    ("clippy", |root, _| check("clippy", cargo::command(root, CLIPPY), "fix what it names")),
    TESTS,
    ("sim", |root, _| {
        Ok(Tally::one("sim", crate::sim::run_all(root)?, "run the command shown above"))
    }),
    ("models", |root, _| {
        Ok(Tally::one("models", crate::models::run(root)?, "run `cargo xtask models`"))
    }),
    ("doc", |root, _| check("doc", doc(root), "fix what it names")),
];

const TEST: &[&str] = &["test", "--workspace", "--all-features"];
/// Otherwise the SKIP line of a passing test is captured. The transcript hides the other lines.
const SHOW: &str = "--show-output";
const CLIPPY: &[&str] =
    &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"];

/// Runs the steps and prints the closing line; true if nothing failed.
pub fn run(root: &Path, options: &Options) -> Result<bool, String> {
    let timed = env::var_os("CI").is_some();
    let steps = if options.fast { &[TESTS] } else { &STEPS[..] };
    let mut total = Tally::default();
    for (name, run) in steps {
        say(&format!("==> {name}"));
        let started = Instant::now();
        let tally = run(root, options).unwrap_or_else(|why| {
            say(&why);
            Tally::one(name, false, &why)
        });
        if timed {
            say(&format!("==> {name} took {:.1} s", started.elapsed().as_secs_f64()));
        }
        total.add(tally);
    }
    say(&total.summary());
    Ok(total.is_success())
}

/// Runs one command that passes or fails as a whole; its output is not captured.
fn check(name: &str, mut command: Command, cure: &str) -> Result<Tally, String> {
    let status = command.status().map_err(|e| format!("could not start `cargo {name}`: {e}"))?;
    Ok(Tally::one(name, status.success(), cure))
}

fn doc(root: &Path) -> Command {
    let mut command = cargo::command(root, &["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

/// Runs every test binary and the doctests, and prints their relevant lines at once.
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

/// Runs a test command and prints its relevant lines at once; true if it succeeds.
fn follow(
    command: &mut Command,
    foreground: &Foreground,
    transcript: &mut Transcript,
) -> Result<bool, String> {
    let broken = |e: io::Error| format!("could not run the tests: {e}");
    // One pipe for both streams keeps their order: cargo names the binaries on stderr.
    let (reader, writer) = io::pipe().map_err(broken)?;
    command.stdout(writer.try_clone().map_err(broken)?).stderr(writer);
    foreground.start(command).map_err(broken)?;
    // The command still holds the writers, with which the pipe would never end.
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

/// Returns the command that runs the tests of millpond-mysql again, on MySQL instead of MariaDB.
fn again_on_mysql(root: &Path, servers: Option<&Servers>) -> Result<Option<Command>, String> {
    let Some(servers) = servers.filter(|servers| servers.variables.get("MYSQL_URL").is_some())
    else {
        return Ok(None);
    };
    // By its path, since cargo would build it again for a single package.
    let home = root.join("crates/millpond-mysql");
    let program = cargo::test_program(root, TEST, &home)?;
    let mut command = Command::new(program.ok_or("the tests of millpond-mysql were not built")?);
    cargo::remove_package_variables(&mut command);
    command.current_dir(home).stdin(Stdio::null());
    command.envs(servers.variables.iter());
    let of_mariadb = |name: &&str| name.starts_with("MILLPOND_TEST_MARIADB_");
    for name in servers.variables.iter().map(|(name, _)| name).filter(of_mariadb) {
        command.env_remove(name);
    }
    Ok(Some(command))
}

/// Starts the servers that the crates of the workspace need, and reports those that failed to
/// start.
fn start_servers(
    root: &Path,
    install: Install,
    tally: &mut Tally,
) -> Result<Option<Servers>, String> {
    let crates: Vec<String> =
        cargo::metadata(root)?.packages.into_iter().map(|package| package.name).collect();
    let started = Instant::now();
    let servers = servers::for_tests_of(&crates, install)?;
    if let Some(servers) = &servers {
        say(&format!("==> servers ready in {:.1} s", started.elapsed().as_secs_f64()));
        for (kind, why) in &servers.failures {
            say(&format!("servers: {kind}: {why}"));
            let is_required = env::var_os("CI").is_some() && !kind.is_mysql();
            add_missing(tally, &kind.to_string(), why, is_required);
        }
    }
    Ok(servers)
}

/// Counts a server that could not be started.
fn add_missing(tally: &mut Tally, kind: &str, why: &str, is_required: bool) {
    let reason = why.lines().next().unwrap_or_default();
    if is_required {
        tally.fail(format!("servers: {kind}: {reason}"));
    } else {
        tally.skips.push(format!("SKIP servers: {kind}: {reason}"));
    }
}

/// Prints a line and flushes, so that it is in order with the output of child processes.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    // A closed output does not stop the checks.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_server_is_a_skip_and_in_ci_a_failure() {
        let mut tally = Tally::default();
        add_missing(&mut tally, "mariadb", "not installed: mariadb-server\n    a log", false);
        assert!(tally.is_success());
        assert_eq!(tally.skips, ["SKIP servers: mariadb: not installed: mariadb-server"]);
        add_missing(&mut tally, "mariadb", "not installed: mariadb-server", true);
        assert_eq!((tally.failed, tally.skips.len()), (1, 1));
    }
}
