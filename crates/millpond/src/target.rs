//! Parses the URL of the settings into the driver's options, and collects the problems of the
//! settings for that database.

use crate::compatibility::unsupported_settings;
use crate::dialect::{CONNECTION_STRING, Dialect};
use millpond_config::{Refusal, Settings};
use sqlx::Error;

/// The connect options of a database.
pub(crate) enum Target {
    #[cfg(feature = "mysql")]
    MySql(millpond_mysql::MySqlConnectOptions),
    #[cfg(feature = "postgres")]
    Postgres(millpond_postgres::PgConnectOptions),
    #[cfg(feature = "sqlite")]
    Sqlite(millpond_sqlite::SqliteConnectOptions),
}

/// Parses the URL; `None` if there is none. `has_postgres_hooks` is true if hooks were added that
/// run on PostgreSQL connections.
///
/// # Errors
///
/// Returns all settings that the URL's backend refuses, and the invalid Redis URLs.
pub(crate) fn target(
    settings: &Settings,
    has_postgres_hooks: bool,
) -> Result<Option<Target>, Vec<Refusal>> {
    #[cfg(feature = "redis")]
    let of_redis = crate::redis_settings::unusable(settings);
    #[cfg(not(feature = "redis"))]
    let of_redis = Vec::new();
    let database = database(settings, has_postgres_hooks);
    if of_redis.is_empty() {
        return database;
    }
    Err(database.err().into_iter().flatten().chain(of_redis).collect())
}

fn database(settings: &Settings, has_postgres_hooks: bool) -> Result<Option<Target>, Vec<Refusal>> {
    let Some(url) = &settings.storage.connection_string else { return Ok(None) };
    let dialect = Dialect::of(url.expose()).map_err(|refusal| vec![refusal])?;
    let target = parse(dialect, url.expose());
    let unsupported_settings = unsupported_settings(&settings.db, dialect, has_postgres_hooks);
    match target {
        Ok(target) if unsupported_settings.is_empty() => Ok(Some(target)),
        target => Err(target.err().into_iter().chain(unsupported_settings).collect()),
    }
}

fn parse(dialect: Dialect, url: &str) -> Result<Target, Refusal> {
    match dialect {
        #[cfg(feature = "mysql")]
        Dialect::MySql => {
            millpond_mysql::MySqlPoolOptions::parse_url(url).map(Target::MySql).map_err(invalid_url)
        }
        #[cfg(feature = "postgres")]
        Dialect::Postgres => millpond_postgres::PgPoolOptions::parse_url(url)
            .map(Target::Postgres)
            .map_err(invalid_url),
        #[cfg(feature = "sqlite")]
        Dialect::Sqlite => millpond_sqlite::SqlitePoolOptions::parse_url(url)
            .map(Target::Sqlite)
            .map_err(invalid_url),
        #[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
        other => Err(other.feature_disabled()),
    }
}

/// Returns the refusal of a URL that its backend does not understand; the backend's message
/// contains no values.
fn invalid_url(error: Error) -> Refusal {
    let why = match error {
        Error::Configuration(why) => why.to_string(),
        other => other.to_string(),
    };
    let message = format!("is not understood: {why}");
    Refusal { setting: CONNECTION_STRING, message, help: "correct the URL".to_owned() }
}
