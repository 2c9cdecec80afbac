//! A storage from the settings, as `millpond-config` reads them: the one reader there is.

use crate::error::RateLimitError;
use crate::storage::{CentralizedStateStorage, StorageOptions, setting};
use millpond_config::{Loader, Refusal, Settings};
use millpond_redis::RedisConnectOptions;

const URL: &str = "redis.url";

/// The variables that bear on a storage.
const VARIABLES: [&str; 4] = ["PSN_REDIS_URL", "PSN_REDIS_MAX_CONNECTIONS", "PSN_DB_LIMITS", "PSN_PRESET"];

impl CentralizedStateStorage {
    /// A storage with what the section `[redis]` of the settings says, wherever that is said: `PSN_REDIS_URL`,
    /// `PSN_REDIS_MAX_CONNECTIONS` (default 20, range 10-200 unless `limits = "off"`), the files that `PSN_REDIS_URL_FILE` and
    /// its like name, or `./millpond.toml`. All else is as in [`StorageOptions::new`].
    ///
    /// # Errors
    ///
    /// [`RateLimitError::Setting`] with everything that is wrong with the settings, those of other sections and misspelt
    /// variables included: each with its source and the way out.
    pub fn from_env() -> Result<Self, RateLimitError> {
        load(Settings::loader())
    }

    /// As [`from_env`](Self::from_env), with the variables from elsewhere and without `./millpond.toml`. Asked for are
    /// `PSN_REDIS_URL`, `PSN_REDIS_MAX_CONNECTIONS`, `PSN_DB_LIMITS`, `PSN_PRESET`, and each with `_FILE` behind it.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, RateLimitError> {
        let names = VARIABLES.into_iter().flat_map(|name| [name.to_owned(), format!("{name}_FILE")]);
        let variables = names.filter_map(|name| variable(&name).map(|value| (name, value)));
        load(Settings::loader().no_file().environment(variables))
    }
}

fn load(loader: Loader) -> Result<CentralizedStateStorage, RateLimitError> {
    let settings = loader.require(URL).check(unusable).load().map_err(|error| setting(&error))?;
    let options = StorageOptions::new().max_connections(settings.redis.max_connections);
    // It is required.
    let url = settings.redis.url.as_ref().map_or("", |url| url.expose());
    options.limits(settings.db.pool.limits).connect_lazy(url)
}

fn unusable(settings: &Settings) -> Vec<Refusal> {
    let url = settings.redis.url.iter();
    let errors = url.filter_map(|url| url.expose().parse::<RedisConnectOptions>().err());
    let refusal = |error| Refusal {
        setting: URL,
        message: format!("is not understood: {error}"),
        way_out: "correct the URL, as in redis://localhost:6379/1".to_owned(),
    };
    errors.map(refusal).collect()
}
