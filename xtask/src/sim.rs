//! `cargo xtask sim`: the simulators, with every assertion, for as long as one likes.
//!
//! They are tests of `millpond-core` and `millpond-postgres`, which any `cargo test` runs for a
//! short while with the same seeds each time. Here they run from a fresh seed, or from the one that
//! a violation has named.

use std::path::Path;
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

/// What is simulated: the test that does it, and the steps of a run that says nothing else, and of
/// `cargo xtask test`: within a minute on two cores. The core is built optimised; with sqlx that
/// would take longer than it gains.
struct World {
    test: &'static str,
    args: &'static [&'static str],
    steps: u64,
}

/// The ledger alone, the whole pool under a paused clock, and transactions over the PostgreSQL pool
/// and driver on a server that makes trouble.
const WORLDS: [World; 3] = [
    world(
        "proof::sim::whatever_happens",
        &["millpond-core", "--profile", "sim", "--lib"],
        10_000_000,
    ),
    world(
        "storm::whatever_happens",
        &["millpond-core", "--profile", "sim", "--test", "it"],
        100_000,
    ),
    world("simulator::transactions_are_whole", &["millpond-postgres", "--test", "it"], 50_000),
];

const fn world(test: &'static str, args: &'static [&'static str], steps: u64) -> World {
    World { test, args, steps }
}

/// Runs it; `Ok(false)` if an invariant was violated. The last line is the sum.
pub fn run(options: &Options) -> Result<bool, String> {
    let [ledger, pool, transactions] = &WORLDS;
    let world = match (options.pool, options.transactions) {
        (true, _) => pool,
        (false, true) => transactions,
        (false, false) => ledger,
    };
    let seed = options.seed.unwrap_or_else(fresh_seed);
    world.simulate(&cargo::workspace_root()?, options.steps.unwrap_or(world.steps), seed)
}

/// What `cargo xtask test` runs: all of them, from fresh seeds.
pub fn check(root: &Path) -> Result<bool, String> {
    let mut well = true;
    for world in &WORLDS {
        well &= world.simulate(root, world.steps, fresh_seed())?;
    }
    Ok(well)
}

fn fresh_seed() -> u64 {
    // Short enough to be typed.
    let age = SystemTime::now().duration_since(UNIX_EPOCH);
    age.map_or(1, |age| age.as_micros() as u64 % 1_000_000_000)
}

impl World {
    fn simulate(&self, root: &Path, steps: u64, seed: u64) -> Result<bool, String> {
        let mut command = cargo::command(root, &["test", "--quiet", "--package"]);
        command.args(self.args).args(["--", "--nocapture", self.test]);
        command.env("MILLPOND_SIM_STEPS", steps.to_string());
        command.env("MILLPOND_SIM_SEED", seed.to_string());
        println!("the worlds from seed {seed} on");
        let mut sum = None;
        let well = cargo::read_lines(&mut command, |line| {
            if line.ends_with(" violations") {
                sum = Some(line.to_owned());
            }
        })?;
        let sum = sum.ok_or("the simulator came to no end; what it said stands above")?;
        println!("{sum}");
        Ok(well && sum.ends_with(" 0 violations"))
    }
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
