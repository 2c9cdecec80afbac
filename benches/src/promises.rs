//! What pools promise and what becomes of it: one set of scenarios for millpond and its peers, each
//! at its best settings.
//!
//! `cargo xtask rivals --promises` runs `src/bin/promises.rs` and writes docs/comparison.md from
//! what it prints: a line for each scenario and one for each pool in it. Connections are scripted
//! ones where the server has to misbehave, and PostgreSQL's where it matters what a driver leaves
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

/// Prints that a scenario begins: its name, what is done in it, and what would be best.
fn begin(name: &str, action: &str, best: &str) {
    println!("scenario\t{name}\t{action}\t{best}");
}

/// Prints what a pool came to.
fn print_result(pool: &str, result: &str) {
    println!("result\t{pool}\t{result}");
}

/// Runs everything. Without a PostgreSQL in `MILLPOND_TEST_POSTGRES_URL` its part is left out, and
/// says so.
///
/// # Cancel safety
///
/// None is needed: it is the whole program.
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
