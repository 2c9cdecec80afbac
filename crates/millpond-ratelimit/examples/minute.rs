//! Eight clients offer 10,000 requests a second in all against a limit of 5,000: how many are
//! admitted in a minute.
//!
//! `cargo xtask servers redis -- cargo run --release -p millpond-ratelimit --example minute --
//! [SECONDS] [BURST]`
//!
//! The burst is the limit's own unless it is named: 5,000, which take a second to come back. What a
//! limit admits is lost if nobody asks for longer than that, as with any bucket. So with a small
//! burst, say 50, which are back after 10 ms, each time the machine does something else for longer
//! costs requests; the last numbers say how many.

use millpond_ratelimit::{
    DecisionSource, Limit, OnOutage, RateLimitError, RateLimiter, StorageOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: u32 = 8;
const OFFERED: f64 = 10_000.0;
const RATE: u32 = 5_000;

/// What one client has seen.
#[derive(Default)]
struct Seen {
    offered: u64,
    admitted: u64,
    not_redis: u64,
}

/// When nobody asked.
struct Pauses {
    began: Instant,
    /// How long a full burst takes to come back.
    refill: Duration,
    /// The last answer, in nanoseconds since the beginning.
    last: AtomicU64,
    longest: AtomicU64,
    /// What pauses took beyond the refill, in all.
    beyond: AtomicU64,
}

impl Pauses {
    fn note_an_answer(&self) {
        let now = nanos(self.began.elapsed());
        let pause = now.saturating_sub(self.last.swap(now, Ordering::Relaxed));
        self.longest.fetch_max(pause, Ordering::Relaxed);
        self.beyond.fetch_add(pause.saturating_sub(nanos(self.refill)), Ordering::Relaxed);
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// Offers requests at a steady pace.
async fn client(
    limiter: RateLimiter,
    pauses: Arc<Pauses>,
    span: Duration,
) -> Result<Seen, RateLimitError> {
    let began = pauses.began;
    let mut seen = Seen::default();
    let each = Duration::from_secs_f64(f64::from(CLIENTS) / OFFERED);
    let mut due = began;
    while began.elapsed() < span {
        // In batches, since a timer rings once in a millisecond.
        tokio::time::sleep_until(due.into()).await;
        while due <= Instant::now() {
            due += each;
            let decision = limiter.check("everybody").await?;
            pauses.note_an_answer();
            seen.offered += 1;
            seen.admitted += u64::from(decision.allowed);
            seen.not_redis += u64::from(decision.source != DecisionSource::Redis);
        }
    }
    Ok(seen)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("MILLPOND_TEST_REDIS_URL")?;
    let span = Duration::from_secs(std::env::args().nth(1).map_or(Ok(60), |text| text.parse())?);
    let burst = std::env::args().nth(2).map_or(Ok(RATE), |text| text.parse())?;
    let limit = Limit::per_second(RATE)?.burst(burst)?;
    let storage = StorageOptions::new().on_outage(OnOutage::Closed).connect_lazy(&url)?;
    let limiter = RateLimiter::new(&storage, "rate", limit)?;
    limiter.peek("everybody").await?;
    let began = Instant::now();
    let none = AtomicU64::default;
    let pauses = Arc::new(Pauses {
        began,
        refill: limit.refill(),
        last: none(),
        longest: none(),
        beyond: none(),
    });
    let work = || tokio::spawn(client(limiter.clone(), Arc::clone(&pauses), span));
    let tasks: Vec<_> = (0..CLIENTS).map(|_| work()).collect();
    let mut sum = Seen::default();
    for task in tasks {
        let seen = task.await??;
        sum.offered += seen.offered;
        sum.admitted += seen.admitted;
        sum.not_redis += seen.not_redis;
    }
    let seconds = began.elapsed().as_secs_f64();
    let most = f64::from(burst) + f64::from(RATE) * seconds;
    println!(
        "{:.0} offered/s, {} admitted in {seconds:.3} s: {:.3} % of the most that may be \
         ({most:.0}), {} not by Redis",
        sum.offered as f64 / seconds,
        sum.admitted,
        sum.admitted as f64 / most * 100.0,
        sum.not_redis
    );
    let seconds =
        |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed)).as_secs_f64();
    println!(
        "a burst of {burst}; the longest pause {:.1} ms; lost to pauses: {:.0} requests",
        seconds(&pauses.longest) * 1e3,
        seconds(&pauses.beyond) * f64::from(RATE)
    );
    Ok(())
}
