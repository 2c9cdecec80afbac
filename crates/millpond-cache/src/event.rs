//! The events of a cache, for metrics and logs.

use millpond_core::{SharedError, catch_panic};
use millpond_redis::RedisError;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Something that happened in a cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CacheEvent {
    /// A value was found.
    Hit,
    /// The cache remembers that a loader found nothing.
    NegativeHit,
    /// An expired value was found, which is to be reloaded.
    StaleHit,
    /// Nothing was found.
    Miss,
    /// Nothing was found, and the value came from a load that another caller had begun.
    Shared,
    /// A loader finished.
    Loaded {
        /// How long it took.
        took: Duration,
        /// Whether there was a value.
        found: bool,
    },
    /// A loader failed.
    LoadFailed {
        /// Why.
        error: SharedError,
    },
    /// Redis does not answer or refuses, and the cache continues without it.
    Bypassed {
        /// The error; `None` if Redis was known to be down and no command was sent.
        error: Option<RedisError>,
    },
    /// An entry could not be read, and counts as missing.
    Unreadable,
    /// A value was too large to be stored.
    TooLarge {
        /// Its size, in bytes.
        size: usize,
    },
}

/// Observes a cache. Must not block; closures implement it. A panic in it is caught.
pub trait CacheObserver: Send + Sync + 'static {
    /// Called for each event, with the namespace in which it happened.
    fn observe(&self, event: &CacheEvent, namespace: &str);
}

impl<F: Fn(&CacheEvent, &str) + Send + Sync + 'static> CacheObserver for F {
    fn observe(&self, event: &CacheEvent, namespace: &str) {
        self(event, namespace);
    }
}

/// Counts of what has happened since the cache was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheTotals {
    /// Values found, stale and negative ones included.
    pub hits: u64,
    /// Values not found.
    pub misses: u64,
    /// Callers that got the value of another caller's load.
    pub shared: u64,
    /// Loaders that finished.
    pub loads: u64,
    /// Loaders that failed.
    pub load_failures: u64,
    /// How many times the cache continued without Redis.
    pub bypassed: u64,
}

/// Counts events and passes them to the observers.
#[derive(Default)]
pub(crate) struct EventSink {
    pub(crate) observers: Vec<Arc<dyn CacheObserver>>,
    hits: AtomicU64,
    misses: AtomicU64,
    shared: AtomicU64,
    loads: AtomicU64,
    load_failures: AtomicU64,
    bypassed: AtomicU64,
}

impl EventSink {
    pub(crate) fn emit(&self, event: &CacheEvent, namespace: &str) {
        let counter = match event {
            CacheEvent::Hit | CacheEvent::NegativeHit | CacheEvent::StaleHit => Some(&self.hits),
            CacheEvent::Miss => Some(&self.misses),
            CacheEvent::Shared => Some(&self.shared),
            CacheEvent::Loaded { .. } => Some(&self.loads),
            CacheEvent::LoadFailed { .. } => Some(&self.load_failures),
            CacheEvent::Bypassed { .. } => Some(&self.bypassed),
            CacheEvent::Unreadable | CacheEvent::TooLarge { .. } => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        for observer in &self.observers {
            // A panic in an observer must not reach the caller.
            let _ = catch_panic(|| observer.observe(event, namespace));
        }
    }

    pub(crate) fn totals(&self) -> CacheTotals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheTotals {
            hits: read(&self.hits),
            misses: read(&self.misses),
            shared: read(&self.shared),
            loads: read(&self.loads),
            load_failures: read(&self.load_failures),
            bypassed: read(&self.bypassed),
        }
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSink")
            .field("observers", &self.observers.len())
            .field("totals", &self.totals())
            .finish()
    }
}
