//! Rate limits stored in Redis: re-exports `millpond-ratelimit`, and builds a storage from the
//! settings.
//!
//! ```sh
//! export PSN_REDIS_URL="redis://localhost:6379/1"
//! export PSN_REDIS_MAX_CONNECTIONS=20
//! ```

use crate::redis_settings::connect_options;
use millpond_config::Settings;

pub use millpond_ratelimit::*;

/// Builds a storage from the section `[redis]`: `url` (`PSN_REDIS_URL`) and `max_connections`
/// (`PSN_REDIS_MAX_CONNECTIONS`, default 20, range 10-200 unless `limits = "off"`); everything else
/// comes from the options. Opens no connection before the first decision.
///
/// [`CentralizedStateStorage::from_env`] reads the same settings by itself.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use millpond::ratelimit::{self, Limit, OnOutage, RateLimiter, StorageOptions};
/// use millpond::Settings;
///
/// let environment = [("PSN_REDIS_URL", "redis://localhost:6379/1")];
/// let settings = Settings::loader().no_file().environment(environment).load()?;
/// let options = StorageOptions::new().on_outage(OnOutage::Closed);
/// let storage = ratelimit::from_settings(&settings, options)?;
/// let limiter = RateLimiter::new(&storage, "requests", Limit::per_second(10)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// [`RateLimitError::Setting`] if the URL is missing or invalid; the error names the setting, its
/// source and how to fix it.
pub fn from_settings(
    settings: &Settings,
    options: StorageOptions,
) -> Result<CentralizedStateStorage, RateLimitError> {
    let section = &settings.redis;
    let connect_options = connect_options(settings, "redis", section)
        .map_err(|reason| RateLimitError::Setting { reason })?;
    options
        .max_connections(section.max_connections)
        .limits(settings.db.pool.limits)
        .connect_lazy_with(connect_options)
}
