//! Metrics of caches. Recorded immediately (cheap next to a Redis round trip); descriptions are
//! registered at the same interval as for pools.

use crate::names::{
    CACHE_ERRORS, CACHE_LOAD_TIME, CACHE_LOADS, CACHE_NAMESPACE, CACHE_REQUESTS, describe_cache,
};
use crate::reporter::REPORT_INTERVAL;
use metrics::{counter, histogram};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Records the outcomes of the requests to a cache, by namespace.
///
/// This crate does not depend on a cache: the caller reports the outcomes. The feature `cache` of
/// `millpond` has an observer that does so.
///
/// ```
/// use millpond_metrics::{CacheMetrics, CacheOutcome};
/// use std::time::Duration;
///
/// CacheMetrics::record("ponds", CacheOutcome::Miss);
/// let loaded = CacheOutcome::Loaded { took: Duration::from_millis(3), found: true };
/// CacheMetrics::record("ponds", loaded);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct CacheMetrics;

/// The outcome of a request to a cache, or of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheOutcome {
    /// A value was found.
    Hit,
    /// An expired value was found.
    StaleHit,
    /// The cache has stored that there is no value.
    NegativeHit,
    /// No value was found.
    Miss,
    /// No value was found, and another caller's load returned one.
    Shared,
    /// A loader finished.
    Loaded {
        /// How long the load took.
        took: Duration,
        /// True if the load returned a value.
        found: bool,
    },
    /// A loader failed.
    LoadFailed,
    /// The cache's server did not answer or was not queried, and the cache continued without it.
    Bypassed,
    /// An entry could not be read.
    Unreadable,
    /// A value was too large to be stored.
    TooLarge,
}

impl CacheMetrics {
    /// Records an outcome.
    pub fn record(namespace: &str, outcome: CacheOutcome) {
        if description_is_due() {
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
                histogram!(CACHE_LOAD_TIME, CACHE_NAMESPACE => namespace.to_owned())
                    .record(took.as_secs_f64());
            }
            CacheOutcome::LoadFailed => count(CACHE_LOADS, "outcome", "failed"),
            CacheOutcome::Bypassed => count(CACHE_ERRORS, "what", "bypassed"),
            CacheOutcome::Unreadable => count(CACHE_ERRORS, "what", "unreadable"),
            CacheOutcome::TooLarge => count(CACHE_ERRORS, "what", "too_large"),
        }
    }
}

/// Returns true if the descriptions are older than [`REPORT_INTERVAL`]: another recorder may have
/// been installed.
fn description_is_due() -> bool {
    static DESCRIBED: Mutex<Option<Instant>> = Mutex::new(None);
    let (mut described, now) =
        (DESCRIBED.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
    let is_time =
        described.is_none_or(|moment| now.saturating_duration_since(moment) >= REPORT_INTERVAL);
    if is_time {
        *described = Some(now);
    }
    is_time
}
