//! Measures the cost of each reset level: `cargo xtask servers mariadb -- cargo run --release -p
//! millpond-mysql --example mysql_reset_cost`.
//!
//! Borrowers acquire the only connection of a pool in turn, execute a statement and return the
//! connection. The time beyond that of `none` is the cost of the level.

use millpond_mysql::{MySqlPoolOptions, ResetLevel};
use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

const LAPS: u32 = 500;
const ROUNDS: usize = 9;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("MILLPOND_TEST_MARIADB_URL")
        .map_err(|_| "MILLPOND_TEST_MARIADB_URL leads to no server")?;
    println!("| level | in doubt | us a borrower |\n|---|---|---|");
    for (level, sql) in [
        (ResetLevel::None, "SELECT 0"),
        (ResetLevel::Transaction, "SELECT 0"),
        (ResetLevel::None, "DO 0"),
        (ResetLevel::Transaction, "DO 0"),
        (ResetLevel::Session, "SELECT 0"),
        (ResetLevel::Replace, "SELECT 0"),
    ] {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for _ in 0..ROUNDS {
            rounds.push(round(&url, level, sql).await?);
        }
        rounds.sort_unstable();
        let median = rounds.get(ROUNDS / 2).copied().unwrap_or_default();
        let doubt = if sql == "DO 0" { "yes" } else { "no" };
        println!("| {level:?} | {doubt} | {:.1} |", median.as_secs_f64() * 1e6);
    }
    Ok(())
}

async fn round(url: &str, level: ResetLevel, sql: &'static str) -> Result<Duration, sqlx::Error> {
    let pool =
        MySqlPoolOptions::new().pool_size(1).max_overflow(0).reset(level).connect(url).await?;
    let begun = Instant::now();
    for _ in 0..LAPS {
        sqlx::query(sql).execute(&pool).await?;
    }
    let took = begun.elapsed() / LAPS;
    pool.close().await;
    Ok(took)
}
