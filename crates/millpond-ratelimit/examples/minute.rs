//! Eight clients offer 10,000 requests a second in all against a limit of 5,000: how many are admitted in a minute.
//!
//! `cargo xtask servers redis -- cargo run --release -p millpond-ratelimit --example minute -- [SECONDS]`

use millpond_ratelimit::{Limit, OnOutage, RateLimitError, RateLimiter, Source, StorageOptions};
use std::time::{Duration, Instant};

const CLIENTS: u32 = 8;
const OFFERED: f64 = 10_000.0;
const RATE: u32 = 5_000;
const BURST: u32 = 50;

/// What one client has seen.
#[derive(Default)]
struct Seen {
    offered: u64,
    admitted: u64,
    not_redis: u64,
}

/// Offers requests at a steady pace.
async fn client(limiter: RateLimiter, began: Instant, span: Duration) -> Result<Seen, RateLimitError> {
    let mut seen = Seen::default();
    let each = Duration::from_secs_f64(f64::from(CLIENTS) / OFFERED);
    let mut due = began;
    while began.elapsed() < span {
        // In batches, since a timer rings once in a millisecond.
        tokio::time::sleep_until(due.into()).await;
        while due <= Instant::now() {
            due += each;
            let decision = limiter.check("everybody").await?;
            seen.offered += 1;
            seen.admitted += u64::from(decision.allowed);
            seen.not_redis += u64::from(decision.source != Source::Redis);
        }
    }
    Ok(seen)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("MILLPOND_TEST_REDIS_URL")?;
    let span = Duration::from_secs(std::env::args().nth(1).map_or(Ok(60), |text| text.parse())?);
    let storage = StorageOptions::new().on_outage(OnOutage::Closed).connect_lazy(&url)?;
    let limiter = RateLimiter::new(&storage, "rate", Limit::per_second(RATE)?.burst(BURST)?)?;
    limiter.peek("everybody").await?;
    let began = Instant::now();
    let tasks: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(client(limiter.clone(), began, span))).collect();
    let mut sum = Seen::default();
    for task in tasks {
        let seen = task.await??;
        sum.offered += seen.offered;
        sum.admitted += seen.admitted;
        sum.not_redis += seen.not_redis;
    }
    let seconds = began.elapsed().as_secs_f64();
    let most = f64::from(BURST) + f64::from(RATE) * seconds;
    println!(
        "{:.0} offered/s, {} admitted in {seconds:.3} s: {:.3} % of the most that may be ({most:.0}), {} not by Redis",
        sum.offered as f64 / seconds,
        sum.admitted,
        sum.admitted as f64 / most * 100.0,
        sum.not_redis
    );
    Ok(())
}
