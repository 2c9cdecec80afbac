//! Creates a storage from the settings, which `millpond-config` reads.

use crate::error::{RateLimitError, setting};
use crate::storage::{CentralizedStateStorage, StorageOptions};
use millpond_config::{Loader, Refusal, Settings};
use millpond_redis::{RedisConnectOptions, UrlError};

const URL: &str = "redis.url";

/// The variables that affect a storage.
const VARIABLES: [&str; 6] = [
    "PSN_REDIS_URL",
    "PSN_REDIS_MAX_CONNECTIONS",
    "PSN_REDIS_TCP_KEEPALIVE",
    "PSN_REDIS_TCP_USER_TIMEOUT",
    "PSN_DB_LIMITS",
    "PSN_PRESET",
];

impl CentralizedStateStorage {
    /// Creates a storage from the section `[redis]` of the settings: `PSN_REDIS_URL`,
    /// `PSN_REDIS_MAX_CONNECTIONS` (default 20, range 10-200 unless `limits = "off"`), the files
    /// that `PSN_REDIS_URL_FILE` and the like name, or `./millpond.toml`. The rest is as in
    /// [`StorageOptions::new`].
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`], which lists everything that is wrong with the settings,
    /// including other sections and misspelt variables, each with its source and what to do.
    pub fn from_env() -> Result<Self, RateLimitError> {
        load(Settings::loader())
    }

    /// As [`from_env`](Self::from_env), with variables from a function and without
    /// `./millpond.toml`. It is called with `PSN_REDIS_URL`, `PSN_REDIS_MAX_CONNECTIONS`,
    /// `PSN_REDIS_TCP_KEEPALIVE`, `PSN_REDIS_TCP_USER_TIMEOUT`, `PSN_DB_LIMITS`, `PSN_PRESET`, and
    /// each of these followed by `_FILE`.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, RateLimitError> {
        let names =
            VARIABLES.into_iter().flat_map(|name| [name.to_owned(), format!("{name}_FILE")]);
        let variables = names.filter_map(|name| variable(&name).map(|value| (name, value)));
        load(Settings::loader().no_file().environment(variables))
    }
}

fn load(loader: Loader) -> Result<CentralizedStateStorage, RateLimitError> {
    let (settings, place) =
        loader.require(URL).load_with(place).map_err(|error| setting(&error))?;
    let options = StorageOptions::new().max_connections(settings.redis.max_connections);
    options.limits(settings.db.pool.limits).connect_lazy_with(place)
}

fn place(settings: &Settings) -> Result<RedisConnectOptions, Vec<Refusal>> {
    // A missing URL is reported as such, since it is required.
    let url = settings.redis.url.as_ref().ok_or_else(Vec::new)?;
    let place = url.expose().parse::<RedisConnectOptions>();
    let Settings { redis, .. } = settings;
    let place = place.map(|place| place.or_tcp_times(redis.tcp_keepalive, redis.tcp_user_timeout));
    place.map_err(|error: UrlError| {
        vec![Refusal {
            setting: URL,
            message: format!("is not understood: {error}"),
            help: "correct the URL, as in redis://localhost:6379/1".to_owned(),
        }]
    })
}
