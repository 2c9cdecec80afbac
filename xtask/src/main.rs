//! The chores of this workspace: `cargo xtask test`, `tidy`, `servers`, `sim`, `models`, `mutants`,
//! `deny`, `soak` and `rivals`.
//!
//! An error is a `String` for the person at the terminal: what failed, and what to do.

#![expect(
    clippy::disallowed_methods,
    reason = "servers are polled until they answer or have ended"
)]

mod cargo;
mod models;
mod mutants;
mod programs;
mod servers;
mod sim;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::Parser;

/// The chores of this workspace.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Runs tidy, fmt, clippy, every test, the simulators, the models and the docs.
    Test(test::Options),
    /// Checks the house rules that a machine can check; CONTRIBUTING.md lists them.
    Tidy,
    /// Starts database servers, prints the variables that lead to them, and runs until Ctrl-C or
    /// the end of a command.
    Servers(servers::Options),
    /// Puts the pool's ledger, or the whole pool, into random worlds and checks every invariant
    /// after every step.
    Sim(sim::Options),
    /// Tries every order in which a few threads can meet in the pool's hand-off.
    Models,
    /// Breaks the core in every small way there is and lists what no test notices: hours.
    Mutants(mutants::Options),
    /// Checks licences, sources and forbidden crates by cargo-deny, as deny.toml says.
    Deny,
    /// Cuts connections at random against real servers and counts wrong answers, stale transactions
    /// and lost slots. --postgres, --mariadb, --mysql, --redis CUTS, --seed SEED, --without-sqlx.
    Soak(programs::Arguments),
    /// Races millpond against other pools: 6 minutes, or two with --quick. Also --write, --check,
    /// --json, --compile, --promises.
    Rivals(programs::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Test(options) => test::run(&options).map(code),
        Command::Tidy => tidy::run().map(code),
        Command::Servers(options) => servers::run(&options),
        Command::Sim(options) => sim::run(&options).map(code),
        Command::Models => models::run().map(code),
        Command::Mutants(options) => mutants::run(&options).map(code),
        Command::Deny => programs::deny(),
        Command::Soak(options) => programs::soak(&options),
        Command::Rivals(options) => programs::rivals(&options),
    };
    outcome.unwrap_or_else(|why| {
        eprintln!("xtask: {why}");
        ExitCode::FAILURE
    })
}

fn code(is_success: bool) -> ExitCode {
    if is_success { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
