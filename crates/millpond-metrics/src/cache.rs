//! What caches do, for the recorder of the `metrics` facade: told at once, since beside a question to Redis it costs nothing.
//! What the metrics are is told as often as with pools.

use crate::names::{CACHE_ERRORS, CACHE_LOAD_TIME, CACHE_LOADS, CACHE_NAMESPACE, CACHE_REQUESTS, describe_cache};
use crate::teller::TELL_EVERY;
use metrics::{counter, histogram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tells the recorder what became of the requests to a cache, by namespace.
///
/// This crate knows no cache: whoever has one says what happened. `millpond`'s feature `cache` has an observer that does.
///
/// ```
/// use millpond_metrics::{CacheMetrics, CacheOutcome};
/// use std::time::Duration;
///
/// CacheMetrics::tell("ponds", CacheOutcome::Miss);
/// CacheMetrics::tell("ponds", CacheOutcome::Loaded { took: Duration::from_millis(3), found: true });
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CacheMetrics;

/// What became of a request to a cache, or of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// A value was found.
    Hit,
    /// A value past its time was found.
    StaleHit,
    /// It was found that there is none.
    NegativeHit,
    /// Nothing was found.
    Miss,
    /// Nothing was found, and the answer is that of somebody else's load.
    Shared,
    /// A loader has come to an end.
    Loaded {
        /// How long it took.
        took: Duration,
        /// Whether there was a value.
        found: bool,
    },
    /// A loader has failed.
    LoadFailed,
    /// The server of the cache did not answer or was not asked, and the cache went on without it.
    Bypassed,
    /// An entry could not be read.
    Unreadable,
    /// A value was too large to be stored.
    TooLarge,
}

impl CacheMetrics {
    /// Tells one outcome.
    pub fn tell(namespace: &str, outcome: CacheOutcome) {
        if it_is_time_to_describe() {
            describe_cache();
        }
        let count = |metric: &'static str, key: &'static str, value: &'static str| {
            counter!(metric, CACHE_NAMESPACE => namespace.to_owned(), key => value).increment(1);
        };
        match outcome {
            CacheOutcome::Hit => count(CACHE_REQUESTS, "outcome", "hit"),
            CacheOutcome::StaleHit => count(CACHE_REQUESTS, "outcome", "stale"),
            CacheOutcome::NegativeHit => count(CACHE_REQUESTS, "outcome", "negative"),
            CacheOutcome::Miss => count(CACHE_REQUESTS, "outcome", "miss"),
            CacheOutcome::Shared => count(CACHE_REQUESTS, "outcome", "shared"),
            CacheOutcome::Loaded { took, found } => {
                count(CACHE_LOADS, "outcome", if found { "found" } else { "nothing" });
                histogram!(CACHE_LOAD_TIME, CACHE_NAMESPACE => namespace.to_owned()).record(took.as_secs_f64());
            }
            CacheOutcome::LoadFailed => count(CACHE_LOADS, "outcome", "failed"),
            CacheOutcome::Bypassed => count(CACHE_ERRORS, "what", "bypassed"),
            CacheOutcome::Unreadable => count(CACHE_ERRORS, "what", "unreadable"),
            CacheOutcome::TooLarge => count(CACHE_ERRORS, "what", "too_large"),
        }
    }
}

/// Whether the recorder has not been told what the metrics are for so long that there may be another one by now.
fn it_is_time_to_describe() -> bool {
    static DESCRIBED: Mutex<Option<Instant>> = Mutex::new(None);
    let (mut described, now) = (DESCRIBED.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    let is_time = described.is_none_or(|moment| now.saturating_duration_since(moment) >= TELL_EVERY);
    if is_time {
        *described = Some(now);
    }
    is_time
}
