//! Measures the cost of each reset level: acquire, run one query and return, repeatedly, on one
//! connection.
//!
//! `cargo xtask servers postgres -- cargo run --release -p millpond-postgres --example
//! postgres_reset_cost`

use millpond_postgres::{PgPoolOptions, ResetLevel};
use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

const ROUNDS: u32 = 2_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("MILLPOND_TEST_POSTGRES_URL")?;
    println!("| reset | a SELECT, borrowed and given back | the same by raw access |");
    println!("|---|---|---|");
    for level in
        [ResetLevel::None, ResetLevel::Transaction, ResetLevel::Session, ResetLevel::Replace]
    {
        let tracked = per_round(&url, level, false).await?;
        let raw = per_round(&url, level, true).await?;
        println!("| `{level:?}` | {} us | {} us |", tracked.as_micros(), raw.as_micros());
    }
    Ok(())
}

/// Returns the median of five runs, per round.
async fn per_round(url: &str, level: ResetLevel, raw: bool) -> Result<Duration, sqlx::Error> {
    let pool = PgPoolOptions::new().pool_size(1).max_overflow(0).reset(level).connect(url).await?;
    let mut runs = [Duration::ZERO; 5];
    for run in &mut runs {
        let begun = Instant::now();
        for _ in 0..ROUNDS / 5 {
            let mut lease = pool.acquire().await?;
            let question = sqlx::query_scalar::<_, i32>("SELECT 1");
            let answer = if raw {
                question.fetch_one(&mut **lease).await?
            } else {
                question.fetch_one(&mut *lease).await?
            };
            assert_eq!(answer, 1, "the server can count");
        }
        *run = begun.elapsed() / (ROUNDS / 5);
    }
    runs.sort();
    Ok(runs[2])
}
