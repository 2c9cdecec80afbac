//! The development commands of this workspace: `cargo xtask test`, `tidy`, `servers`, `sim`,
//! `models`, `mutants`, `deny`, `soak` and `rivals`.
//!
//! An error is a `String` for the terminal: what failed, and how to fix it.

#![expect(
    clippy::disallowed_methods,
    reason = "servers are polled until they answer or have ended"
)]

mod cargo;
mod models;
mod programs;
mod servers;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// The development commands of this workspace.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Runs tidy, fmt, clippy, every test, the simulators, the models and the docs.
    Test(test::Options),
    /// Checks the rules of CONTRIBUTING.md that a program can check.
    Tidy,
    /// Starts database servers, prints the variables with their addresses, and stops them at Ctrl-C
    /// or when a command has ended.
    Servers(servers::Options),
    /// Drives the pool's ledger, or the whole pool, with random events, and checks every invariant
    /// after each.
    Sim(sim::Options),
    /// Tries every interleaving of a few threads that return, acquire and close.
    Models,
    /// Changes the core in every small way and lists the changes that no test notices; takes hours.
    /// For cargo-mutants' options, see `cargo xtask mutants -- --help`.
    Mutants(programs::Arguments),
    /// Checks licences, sources and forbidden crates with cargo-deny, as configured in deny.toml.
    Deny,
    /// Cuts connections at random against real servers and counts wrong answers, stale transactions
    /// and lost slots. --postgres, --mariadb, --mysql, --redis CUTS, --seed SEED, --without-sqlx.
    Soak(programs::Arguments),
    /// Measures millpond and other pools: 6 minutes, or 2 with --quick. Also --write, --check,
    /// --json, --compile, --promises.
    Rivals(programs::Arguments),
}

fn main() -> ExitCode {
    run(&Command::parse()).unwrap_or_else(|why| {
        eprintln!("xtask: {why}");
        ExitCode::FAILURE
    })
}

fn run(command: &Command) -> Result<ExitCode, String> {
    // Servers need no workspace: tests start their own without cargo's variables.
    let root = cargo::workspace_root;
    let is_success = match command {
        Command::Test(options) => test::run(&root()?, options),
        Command::Tidy => tidy::run(&root()?),
        Command::Sim(options) => sim::run(&root()?, options),
        Command::Models => models::run(&root()?),
        Command::Servers(options) => return servers::run(options),
        Command::Mutants(arguments) => return programs::mutants(&root()?, arguments),
        Command::Deny => return programs::deny(&root()?),
        Command::Soak(arguments) => return programs::soak(arguments),
        Command::Rivals(arguments) => return programs::rivals(arguments),
    };
    is_success.map(|is_success| if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
