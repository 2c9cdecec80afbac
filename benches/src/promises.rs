//! What pools promise and how they keep it: the same scenarios for millpond and other pools, each
//! with its best settings.
//!
//! `cargo xtask rivals --promises` runs `src/bin/promises.rs` and writes docs/comparison.md from
//! its output: a line for each scenario and one for each pool in it. Connections are scripted where
//! the server has to misbehave, and PostgreSQL's where the scenario is about what a driver leaves
//! behind.

mod bb8;
mod contender;
mod deadpool;
mod millpond;
mod mobc;
mod postgres;
mod restart;
mod scenarios;
mod server;
mod sqlx;

use std::env;

/// Prints the start of a scenario: its name, its action, and the best possible result.
fn begin(name: &str, action: &str, best: &str) {
    println!("scenario\t{name}\t{action}\t{best}");
}

/// Prints the result of a pool.
fn print_result(pool: &str, result: &str) {
    println!("result\t{pool}\t{result}");
}

/// Runs all scenarios. Without a PostgreSQL in `MILLPOND_TEST_POSTGRES_URL` those that need one are
/// skipped with a message.
///
/// # Cancel safety
///
/// Not cancelled: this is the whole program.
pub async fn run() {
    scenarios::run().await;
    match env::var("MILLPOND_TEST_POSTGRES_URL") {
        Ok(url) => {
            postgres::run(&url).await;
            restart::run().await;
        }
        Err(_) => eprintln!("SKIP the scenarios of PostgreSQL: no MILLPOND_TEST_POSTGRES_URL"),
    }
}
