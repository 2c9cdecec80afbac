//! What happens in a cache, for metrics and logs.

use millpond_core::SharedError;
use millpond_redis::RedisError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Something that happened in a cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CacheEvent {
    /// A value was found.
    Hit,
    /// It was found that there is none: the loader had said so.
    NegativeHit,
    /// A value was found that is due to be loaded anew.
    StaleHit,
    /// Nothing was found.
    Miss,
    /// Nothing was found, and somebody else was loading it: the answer is his.
    Shared,
    /// A loader has come to an end.
    Loaded {
        /// How long it took.
        took: Duration,
        /// Whether there was a value.
        found: bool,
    },
    /// A loader has failed.
    LoadFailed {
        /// Why.
        error: SharedError,
    },
    /// Redis does not answer or refuses, and the cache goes on without it.
    Bypassed {
        /// Why; nothing if it was known to be down and was not asked.
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

/// Watches a cache. Cannot fail and must not block; a closure will do. A panic in it is caught.
pub trait CacheObserver: Send + Sync + 'static {
    /// Takes note of one event in a namespace.
    fn observe(&self, event: &CacheEvent, namespace: &str);
}

impl<F: Fn(&CacheEvent, &str) + Send + Sync + 'static> CacheObserver for F {
    fn observe(&self, event: &CacheEvent, namespace: &str) {
        self(event, namespace);
    }
}

/// What has happened since the cache was built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheTotals {
    /// Values found, stale and negative ones included.
    pub hits: u64,
    /// Values not found.
    pub misses: u64,
    /// Callers who got the answer of somebody else's load.
    pub shared: u64,
    /// Loaders that came to an end.
    pub loads: u64,
    /// Loaders that failed.
    pub load_failures: u64,
    /// How often the cache went on without Redis.
    pub bypassed: u64,
}

/// Counts and tells.
#[derive(Default)]
pub(crate) struct News {
    pub(crate) observers: Vec<Arc<dyn CacheObserver>>,
    hits: AtomicU64,
    misses: AtomicU64,
    shared: AtomicU64,
    loads: AtomicU64,
    load_failures: AtomicU64,
    bypassed: AtomicU64,
}

impl News {
    pub(crate) fn tell(&self, event: &CacheEvent, namespace: &str) {
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
            // A panic in watching must not reach whoever asks.
            let _ = catch_unwind(AssertUnwindSafe(|| observer.observe(event, namespace)));
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

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").field("observers", &self.observers.len()).field("totals", &self.totals()).finish()
    }
}
