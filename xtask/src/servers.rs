//! `cargo xtask servers`: starts real database servers for tests, in seconds.
//!
//! They listen on free ports of the loopback interface and store their files in a temporary
//! directory of this process. The variables with their addresses are printed as `NAME=value` lines,
//! or set for a command; docs/development.md lists them. If a variable is set already, its server
//! is used and none is started.
//!
//! # Invariants
//!
//! 1. Nothing is left behind: the servers end with this process, however it ends, and a directory
//!    that a killed process could not remove is removed by the next start.
//! 2. No port and no path is fixed, so any number of these processes can run at the same time.

mod certificates;
mod children;
mod cluster;
mod directory;
mod foreground;
mod kind;
mod mysql;
mod mysql_download;
mod packages;
mod pgbouncer;
mod ports;
mod postgres;
mod process;
mod processes;
mod redis;
mod run_as;
mod running_servers;
mod sentinel;
mod shared_memory;
mod signals;
mod template;
mod variables;
mod workdir;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Instant;
use std::{env, thread};

use crate::cargo;
pub use foreground::Foreground;
pub use kind::Kind;
pub use packages::Install;
pub use running_servers::Servers;
use variables::{PREFIX, Variables};

/// The arguments of `cargo xtask servers`.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// The kinds of servers.
    #[arg(default_values_t = kind::DEFAULT)]
    pub kinds: Vec<Kind>,
    /// Starts all of them, also those that variables name, until the standard input is closed.
    #[arg(long = "private")]
    pub is_private: bool,
    /// Continues without servers that cannot be started.
    #[arg(long = "lenient")]
    pub is_lenient: bool,
    /// A command to run with the variables; the servers are stopped when it ends.
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Starts the servers and runs the command, or waits for a signal; returns the exit code of the
/// command.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let started = Instant::now();
    let known = if options.is_private { Variables::default() } else { set_already() };
    let kinds: Vec<Kind> =
        options.kinds.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let servers = start(&kinds, known, Install::Allowed)?;
    let failed: Vec<String> =
        servers.failures.iter().map(|(kind, why)| format!("{kind}: {why}")).collect();
    let failed = failed.join("\nxtask: ");
    match options.is_lenient {
        _ if failed.is_empty() => {}
        true => eprintln!("xtask: {failed}"),
        false => return Err(failed),
    }
    let seconds = started.elapsed().as_secs_f64();
    if let Some((program, args)) = options.command.split_first() {
        let names: Vec<String> = kinds.iter().map(|kind| kind.name()).collect();
        eprintln!("xtask: {} ready in {seconds:.1} s", names.join(", "));
        let mut command = Command::new("setpriv");
        // If this process is killed, the command ends too, since its servers are gone.
        command
            .args(["--pdeathsig", "TERM", "--", program])
            .args(args)
            .envs(servers.variables.iter());
        cargo::remove_package_variables(&mut command);
        servers
            .foreground()
            .start(&mut command)
            .map_err(|e| format!("could not run `{program}`: {e}"))?;
        let status =
            servers.foreground().wait().map_err(|e| format!("could not watch `{program}`: {e}"))?;
        return Ok(code(status));
    }
    // The empty line marks the end of the list for a program that reads it.
    let mut out = io::stdout().lock();
    writeln!(out, "{}", servers.variables.lines())
        .and_then(|()| out.flush())
        .map_err(|e| format!("could not print: {e}"))?;
    let end = if options.is_private { "close the standard input" } else { "press Ctrl-C" };
    eprintln!("xtask: ready in {seconds:.1} s; {end} to stop");
    wait_for_end(options.is_private);
    Ok(ExitCode::SUCCESS)
}

/// Starts the servers that the tests of these crates need and no variable names.
pub fn for_tests_of(crates: &[String], install: Install) -> Result<Option<Servers>, String> {
    let kinds = Kind::needed_by(crates);
    if kinds.is_empty() { Ok(None) } else { start(&kinds, set_already(), install).map(Some) }
}

fn start(kinds: &[Kind], mut known: Variables, install: Install) -> Result<Servers, String> {
    let missing: Vec<Kind> =
        kinds.iter().copied().filter(|kind| known.get(&kind.url_variable()).is_none()).collect();
    if let Ok(program) = env::current_exe() {
        // A test that kills its server starts its own with this program.
        known.add("XTASK", program.display().to_string());
    }
    Servers::start(&missing, known, install)
}

/// Returns the variables that are set in the environment and not empty.
fn set_already() -> Variables {
    let mut variables = Variables::default();
    for (name, value) in env::vars_os() {
        if let (Some(name), Some(value)) =
            (name.to_str().and_then(|name| name.strip_prefix(PREFIX)), value.to_str())
            && !value.is_empty()
        {
            variables.add(name, value);
        }
    }
    variables
}

/// Waits for the end of the standard input, or for a signal, which ends the process.
fn wait_for_end(is_private: bool) {
    if is_private {
        // An error ends it too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        return;
    }
    loop {
        thread::park();
    }
}

/// Returns the exit code as a shell does: the command's code, or 128 plus its signal.
pub fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_command() {
        let status = |script: &str| Command::new("sh").args(["-c", script]).status().unwrap();
        assert_eq!(code(status("exit 3")), ExitCode::from(3));
        assert_eq!(code(status("kill -TERM $$")), ExitCode::from(143));
    }
}
