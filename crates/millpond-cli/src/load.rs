//! Loads the settings that the arguments name, as a service would.

use crate::arguments::{SettingsArguments, SourceArguments};
use millpond::advice::Database;
use millpond::sqlite::SqlitePoolOptions;
use millpond::{ConnectError, DatabaseConnection, Dialect, Loader, Settings};
use std::error::Error;
use std::path::PathBuf;

/// The settings, and the database that they name, if any.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub database: Option<Database>,
}

impl SettingsArguments {
    /// Returns a loader for these settings.
    pub fn loader(&self) -> Loader {
        let loader = Settings::loader().prefix(&self.prefix);
        match &self.config {
            Some(file) => loader.file(file),
            None => loader,
        }
    }
}

impl SourceArguments {
    /// Returns a loader for these settings, or for the URL alone.
    pub fn loader(&self) -> Loader {
        let Some(url) = &self.url else { return self.settings.loader() };
        let scheme = url.0.split([':', '+', '-']).next().unwrap_or_default();
        let setting = match scheme {
            "redis" | "rediss" | "valkey" | "valkeys" => "cache.url",
            _ => "storage.connection_string",
        };
        Settings::loader().no_file().no_environment().set(setting, url.0.as_str())
    }
}

/// Loads the settings and checks the URLs. Connects to nothing.
///
/// # Errors
///
/// Returns all problems of the settings. A URL without a backend is one, even if the settings are
/// otherwise valid: this command has every backend, so no service could use the URL, and a
/// deployment check must not let it pass.
pub fn load(loader: Loader) -> Result<Loaded, Box<dyn Error>> {
    match DatabaseConnection::load(loader.clone()).connect_lazy() {
        Ok(database) => {
            let settings = database.settings().clone();
            let database = kind(database.dialect(), &settings);
            Ok(Loaded { settings, database })
        }
        // A missing connection string is valid: the settings may be for Redis alone.
        Err(ConnectError::NoUrl) => Ok(Loaded { settings: loader.load()?, database: None }),
        Err(error) => Err(error.into()),
    }
}

fn kind(dialect: Dialect, settings: &Settings) -> Option<Database> {
    match dialect {
        Dialect::Postgres => Some(Database::Postgres),
        Dialect::MySql => Some(Database::MySql),
        Dialect::Sqlite => Some(match database_file(settings) {
            Some(_) => Database::SqliteFile,
            None => Database::SqliteInMemory,
        }),
        _ => None,
    }
}

/// Returns the database file, if the URL names an SQLite file.
pub fn database_file(settings: &Settings) -> Option<PathBuf> {
    let url = settings.storage.connection_string.as_ref()?;
    let options = SqlitePoolOptions::parse_url(url.expose()).ok()?;
    let path = options.get_filename();
    let name = path.to_str()?;
    let is_in_memory = name.is_empty() || name == ":memory:" || name.starts_with("file:");
    (!is_in_memory).then(|| path.to_owned())
}
