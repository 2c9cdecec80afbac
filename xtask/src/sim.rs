//! `cargo xtask sim`: the simulators, with every assertion, for as long as one likes.
//!
//! They are tests of `millpond-core` and `millpond-postgres`, which any `cargo test` runs for a
//! short while with the same seeds each time. Here they run from a fresh seed, or from the one that
//! a violation has named.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cargo;

/// The arguments of `cargo xtask sim`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many steps; 10^7 of the ledger, 10^5 of the pool, 50,000 of transactions by default.
    #[arg(long, value_parser = number)]
    steps: Option<u64>,
    /// The first seed, as a violation names it; a fresh one by default.
    #[arg(long, value_parser = number)]
    seed: Option<u64>,
    /// Simulates the whole pool instead of its ledger.
    #[arg(long)]
    pool: bool,
    /// Simulates transactions over the PostgreSQL pool instead.
    #[arg(long, conflicts_with = "pool")]
    transactions: bool,
}

/// A number, which may be written as 10_000.
fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| "not a number".to_owned())
}

/// What is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum World {
    /// The ledger alone.
    Ledger,
    /// The whole pool under a paused clock.
    Pool,
    /// Transactions over the PostgreSQL pool and driver, on a server that makes trouble.
    Transactions,
}

impl World {
    /// The steps of a run that says nothing else, and of `cargo xtask test`: within a minute on two
    /// cores.
    fn steps(self) -> u64 {
        match self {
            Self::Ledger => 10_000_000,
            Self::Pool => 100_000,
            Self::Transactions => 50_000,
        }
    }
}

/// Runs it; `Ok(false)` if an invariant was violated. The last line is the sum.
pub fn run(options: &Options) -> Result<bool, String> {
    let root = cargo::workspace_root()?;
    let world = match (options.pool, options.transactions) {
        (true, _) => World::Pool,
        (false, true) => World::Transactions,
        (false, false) => World::Ledger,
    };
    simulate(
        &root,
        world,
        options.steps.unwrap_or(world.steps()),
        options.seed.unwrap_or_else(fresh_seed),
    )
}

/// What `cargo xtask test` runs: all of them, from fresh seeds.
pub fn check(root: &Path) -> Result<bool, String> {
    let seed = fresh_seed();
    let ledger = simulate(root, World::Ledger, World::Ledger.steps(), seed)?;
    let pool = simulate(root, World::Pool, World::Pool.steps(), seed)?;
    let transactions = simulate(root, World::Transactions, World::Transactions.steps(), seed)?;
    Ok(ledger && pool && transactions)
}

fn fresh_seed() -> u64 {
    // Short enough to be typed.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |age| age.as_micros() as u64 % 1_000_000_000)
}

fn simulate(root: &Path, world: World, steps: u64, seed: u64) -> Result<bool, String> {
    // The core is built optimised. With sqlx that would take longer than it gains.
    let (args, test): (&[&str], _) = match world {
        World::Ledger => {
            (&["millpond-core", "--profile", "sim", "--lib"], "proof::sim::whatever_happens")
        }
        World::Pool => {
            (&["millpond-core", "--profile", "sim", "--test", "it"], "storm::whatever_happens")
        }
        World::Transactions => {
            (&["millpond-postgres", "--test", "it"], "simulator::whatever_a_server_does")
        }
    };
    let mut command = cargo::command(root, &["test", "--quiet", "--package"]);
    command.args(args).args(["--", "--nocapture", test]);
    command.env("MILLPOND_SIM_STEPS", steps.to_string()).env("MILLPOND_SIM_SEED", seed.to_string());
    command.env("RUST_BACKTRACE", "0").stdout(Stdio::piped());
    println!("the worlds from seed {seed} on");
    let mut child = command.spawn().map_err(|e| format!("could not run `cargo test`: {e}"))?;
    let lines = child.stdout.take().map(|out| BufReader::new(out).lines().map_while(Result::ok));
    let sum = lines.into_iter().flatten().filter(|line| line.ends_with(" violations")).last();
    let status = child.wait().map_err(|e| format!("could not wait for `cargo test`: {e}"))?;
    let sum = sum.ok_or("the simulator came to no end; what it said stands above")?;
    println!("{sum}");
    Ok(status.success() && sum.ends_with(" 0 violations"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_underscores() {
        assert_eq!(number("10_000"), Ok(10_000));
        assert!(number("x").is_err());
    }
}
