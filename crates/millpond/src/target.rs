//! What the URL of the settings leads to, in its driver's own terms, and what is wrong with the
//! settings there.

use crate::backend::{Backend, CONNECTION_STRING};
use crate::compatibility::unsuited;
use millpond_config::{Refusal, Settings};
use sqlx::Error;

/// A database, as its driver is given it.
pub(crate) enum Target {
    #[cfg(feature = "mysql")]
    MySql(millpond_mysql::MySqlConnectOptions),
    #[cfg(feature = "postgres")]
    Postgres(millpond_postgres::PgConnectOptions),
    #[cfg(feature = "sqlite")]
    Sqlite(millpond_sqlite::SqliteConnectOptions),
}

/// Reads the URL; `None` if there is none. `hooked` says whether hooks were added that act on
/// PostgreSQL's connections.
///
/// # Errors
///
/// All that is wrong with the settings in the eyes of the backend that the URL means, and with
/// those of Redis.
pub(crate) fn target(settings: &Settings, hooked: bool) -> Result<Option<Target>, Vec<Refusal>> {
    #[cfg(feature = "redis")]
    let of_redis = crate::redis_settings::unusable(settings);
    #[cfg(not(feature = "redis"))]
    let of_redis = Vec::new();
    let database = database(settings, hooked);
    if of_redis.is_empty() {
        return database;
    }
    Err(database.err().into_iter().flatten().chain(of_redis).collect())
}

fn database(settings: &Settings, hooked: bool) -> Result<Option<Target>, Vec<Refusal>> {
    let Some(url) = &settings.storage.connection_string else { return Ok(None) };
    let backend = Backend::of(url.expose()).map_err(|refusal| vec![refusal])?;
    let target = parse(backend, url.expose());
    let unsuited = unsuited(&settings.db, backend, hooked);
    match target {
        Ok(target) if unsuited.is_empty() => Ok(Some(target)),
        target => Err(target.err().into_iter().chain(unsuited).collect()),
    }
}

fn parse(backend: Backend, url: &str) -> Result<Target, Refusal> {
    match backend {
        #[cfg(feature = "mysql")]
        Backend::MySql => millpond_mysql::MySqlPoolOptions::parse_url(url)
            .map(Target::MySql)
            .map_err(misunderstood),
        #[cfg(feature = "postgres")]
        Backend::Postgres => millpond_postgres::PgPoolOptions::parse_url(url)
            .map(Target::Postgres)
            .map_err(misunderstood),
        #[cfg(feature = "sqlite")]
        Backend::Sqlite => millpond_sqlite::SqlitePoolOptions::parse_url(url)
            .map(Target::Sqlite)
            .map_err(misunderstood),
        #[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
        other => Err(other.absent()),
    }
}

/// The refusal of a URL that its backend does not understand; the backend's message holds no
/// values.
fn misunderstood(error: Error) -> Refusal {
    let why = match error {
        Error::Configuration(why) => why.to_string(),
        other => other.to_string(),
    };
    let message = format!("is not understood: {why}");
    Refusal { setting: CONNECTION_STRING, message, help: "correct the URL".to_owned() }
}
