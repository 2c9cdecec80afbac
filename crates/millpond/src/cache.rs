//! A typed cache over Redis: re-exports `millpond-cache`, and builds a cache from the settings.
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> Result<(), millpond::cache::CacheError> {
//! use millpond::cache::RedisCache;
//!
//! // Standard Redis.
//! let cache = RedisCache::builder()
//!     .url("redis://localhost:6379/0")
//!     .max_connections(100) // For high traffic.
//!     .connect()
//!     .await?;
//! // Redis Cluster.
//! let cache = RedisCache::builder()
//!     .startup_nodes([("node1", 7000), ("node2", 7001), ("node3", 7002)])
//!     .max_connections(150)
//!     .connect()
//!     .await?;
//! # Ok(())
//! # }
//! ```

use crate::redis_settings::connect_options;
use millpond_config::Settings;

pub use millpond_cache::*;

/// Starts a cache builder from the section `[cache]`: `url` (`PSN_CACHE_URL`) and `max_connections`
/// (`PSN_CACHE_MAX_CONNECTIONS`, default 50, range 10-200 unless `limits = "off"`).
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use millpond::{Settings, cache};
/// use std::time::Duration;
///
/// let settings = Settings::loader().no_file().environment([
///     ("PSN_PRESET", "medium"),
///     ("PSN_CACHE_URL", "redis://localhost:6379/0"),
/// ]).load()?;
/// assert_eq!(settings.cache.max_connections, 100);
/// let cache = cache::from_settings(&settings)?.ttl(Duration::from_secs(600)).connect_lazy()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// [`CacheError::Setting`] if the URL is missing or invalid; the error names the setting, its
/// source and how to fix it.
pub fn from_settings(settings: &Settings) -> Result<CacheBuilder, CacheError> {
    let section = &settings.cache;
    let connect_options = connect_options(settings, "cache", section)
        .map_err(|reason| CacheError::Setting { reason })?;
    let builder = RedisCache::builder().options(connect_options);
    Ok(builder.max_connections(section.max_connections).limits(settings.db.pool.limits))
}

/// Returns an observer that reports the cache's events to the recorder of the `metrics` facade;
/// [`millpond_metrics`](https://docs.rs/millpond-metrics) lists the metrics. Pool events need
/// `pool_observer`, pool gauges `follow_shared_pool`.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use millpond::cache::{self, RedisCache};
/// use millpond::PoolMetrics;
///
/// let metrics = PoolMetrics::new();
/// let cache = RedisCache::builder()
///     .url("redis://localhost:6379/0")
///     .observer(cache::metrics())
///     .pool_observer(metrics.clone())
///     .connect_lazy()?;
/// metrics.follow_shared_pool(cache.pool().as_core());
/// # Ok::<(), cache::CacheError>(())
/// # }).unwrap();
/// ```
#[cfg(feature = "metrics")]
pub fn metrics() -> impl CacheObserver {
    |event: &CacheEvent, namespace: &str| {
        if let Some(outcome) = outcome(event) {
            millpond_metrics::CacheMetrics::record(namespace, outcome);
        }
    }
}

#[cfg(feature = "metrics")]
fn outcome(event: &CacheEvent) -> Option<millpond_metrics::CacheOutcome> {
    use millpond_metrics::CacheOutcome;
    Some(match event {
        CacheEvent::Hit => CacheOutcome::Hit,
        CacheEvent::NegativeHit => CacheOutcome::NegativeHit,
        CacheEvent::StaleHit => CacheOutcome::StaleHit,
        CacheEvent::Miss => CacheOutcome::Miss,
        CacheEvent::Shared => CacheOutcome::Shared,
        CacheEvent::Loaded { took, found } => CacheOutcome::Loaded { took: *took, found: *found },
        CacheEvent::LoadFailed { .. } => CacheOutcome::LoadFailed,
        CacheEvent::Bypassed { .. } => CacheOutcome::Bypassed,
        CacheEvent::Unreadable => CacheOutcome::Unreadable,
        CacheEvent::TooLarge { .. } => CacheOutcome::TooLarge,
        _ => return None,
    })
}
