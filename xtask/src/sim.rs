//! `cargo xtask sim`: runs the simulators with all assertions, for any number of steps.
//!
//! The simulators are tests of `millpond-core` and `millpond-postgres`, which `cargo test` runs
//! briefly from fixed seeds. Here they run from a fresh seed, or from one that a violation printed.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cargo;

/// The arguments of `cargo xtask sim`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The number of steps; by default 10^7 for the ledger, 10^5 for the pool, 50,000 for
    /// transactions.
    #[arg(long, value_parser = number)]
    steps: Option<u64>,
    /// The first seed, as a violation prints it; by default a fresh one.
    #[arg(long, value_parser = number)]
    seed: Option<u64>,
    /// Simulates the whole pool instead of its ledger.
    #[arg(long)]
    pool: bool,
    /// Simulates transactions over the PostgreSQL pool instead.
    #[arg(long, conflicts_with = "pool")]
    transactions: bool,
}

/// Parses a number, which may contain underscores.
fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| "not a number".to_owned())
}

/// A simulator: its test, cargo's arguments, and its default number of steps, which take less than
/// a minute on two cores. The core is built optimised; with sqlx that would take longer than it
/// saves.
type Simulator = (&'static str, &'static [&'static str], u64);

/// The ledger alone, the whole pool under a paused clock, and transactions over the PostgreSQL pool
/// and driver with a server that fails.
const SIMULATORS: [Simulator; 3] = [
    ("proof::sim::whatever_happens", &["millpond-core", "--profile", "sim", "--lib"], 10_000_000),
    ("storm::whatever_happens", &["millpond-core", "--profile", "sim", "--test", "it"], 100_000),
    ("simulator::transactions_are_whole", &["millpond-postgres", "--test", "it"], 50_000),
];

/// Runs one simulator; `Ok(false)` if an invariant was violated. The last line is the sum.
pub fn run(root: &Path, options: &Options) -> Result<bool, String> {
    let [ledger, pool, transactions] = &SIMULATORS;
    let simulator = match (options.pool, options.transactions) {
        (true, _) => pool,
        (false, true) => transactions,
        (false, false) => ledger,
    };
    simulate(root, simulator, options.steps, options.seed)
}

/// Runs all simulators from fresh seeds, as part of `cargo xtask test`.
pub fn run_all(root: &Path) -> Result<bool, String> {
    let mut is_success = true;
    for simulator in &SIMULATORS {
        is_success &= simulate(root, simulator, None, None)?;
    }
    Ok(is_success)
}

fn fresh_seed() -> u64 {
    // Short enough to type.
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(1, |age| age.as_micros() as u64 % 1_000_000_000)
}

fn simulate(
    root: &Path,
    (test, args, default): &Simulator,
    steps: Option<u64>,
    seed: Option<u64>,
) -> Result<bool, String> {
    let seed = seed.unwrap_or_else(fresh_seed);
    let mut command = cargo::command(root, &["test", "--quiet", "--package"]);
    command.args(*args).args(["--", "--nocapture", *test]);
    command.env("MILLPOND_SIM_STEPS", steps.unwrap_or(*default).to_string());
    command.env("MILLPOND_SIM_SEED", seed.to_string());
    println!("simulating from seed {seed}");
    let mut sum = None;
    let is_success = cargo::read_lines(&mut command, |line| {
        if line.ends_with(" violations") {
            sum = Some(line.to_owned());
        }
    })?;
    let sum = sum.ok_or("the simulator did not finish; its output is above")?;
    println!("{sum}");
    Ok(is_success && sum.ends_with(" 0 violations"))
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
