//! Connects to every server that the settings name, as a service would, and reports what the pools
//! find. Database files are only read.

use crate::load;
use millpond::redis::RedisPoolOptions;
use millpond::sqlite::{PoolKind, SqliteConnectOptions, SqlitePoolOptions};
use millpond::{DatabaseConnection, Dialect, Event, EventContext, Loader, Pooler, Settings};
use serde_json::{Value, json};
use std::error::Error;
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A server that was connected to.
#[derive(Debug)]
pub struct Reached {
    /// The setting that names the server.
    pub setting: &'static str,
    /// The kind of server, and the pooler in front of it if there is one.
    pub server: String,
    /// Warnings of the pool about settings that do not suit the server.
    pub warnings: Vec<String>,
    /// The database file, if it does not exist yet; then no connection was opened.
    pub missing: Option<PathBuf>,
}

impl Reached {
    fn new(setting: &'static str, server: impl Into<String>) -> Self {
        Self { setting, server: server.into(), warnings: Vec::new(), missing: None }
    }

    /// Returns the result as one line.
    pub fn line(&self) -> String {
        match &self.missing {
            Some(path) => format!(
                "{}: {} does not exist; the service would create it",
                self.setting,
                path.display()
            ),
            None => format!("{}: connected to {}", self.setting, self.server),
        }
    }

    /// Returns the result as JSON.
    pub fn to_json(&self) -> Value {
        let Self { setting, server, warnings, missing } = self;
        json!({ "setting": setting, "server": server, "warnings": warnings, "missing": missing })
    }
}

/// Opens a connection to each server.
///
/// # Errors
///
/// Returns which server could not be reached within `pool_timeout`, and why. One possible reason is
/// a transaction pooler that the settings do not mention.
pub fn servers(loader: &Loader, settings: &Settings) -> Result<Vec<Reached>, Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut reached = Vec::new();
        if let Some(url) = &settings.storage.connection_string {
            reached.push(match load::database_file(settings) {
                Some(_) => {
                    let options = SqlitePoolOptions::parse_url(url.expose())?;
                    read(options, may_create(url.expose())).await?
                }
                None => database(loader.clone()).await?,
            });
        }
        for (setting, redis) in [("redis.url", &settings.redis), ("cache.url", &settings.cache)] {
            if let Some(url) = &redis.url {
                let pool = RedisPoolOptions::new().connect(url.expose()).await;
                let pool = pool.map_err(|error| format!("{setting}: {error}"))?;
                let _ = pool.close().await;
                reached.push(Reached::new(setting, "Redis"));
            }
        }
        Ok(reached)
    })
}

/// The setting that names the database.
const SETTING: &str = "storage.connection_string";

/// Returns true if a service would create the file that its URL names.
pub fn may_create(url: &str) -> bool {
    let parameters = url.split_once('?').map_or("", |(_, parameters)| parameters);
    !parameters.split('&').any(|parameter| parameter == "mode=ro" || parameter == "mode=rw")
}

/// Opens a file to read it. A pool would create a missing file, and change its journal mode.
async fn read(options: SqliteConnectOptions, may_create: bool) -> Result<Reached, Box<dyn Error>> {
    let path = path::absolute(options.get_filename())?;
    let reached = Reached::new(SETTING, Dialect::Sqlite.to_string());
    if may_create && !path.try_exists()? && path.parent().is_some_and(Path::is_dir) {
        return Ok(Reached { missing: Some(path), ..reached });
    }
    let pool = SqlitePoolOptions::new().pool(PoolKind::Null);
    let pool = pool.connect_with(options.read_only(true).create_if_missing(false)).await;
    pool.map_err(|error| format!("{SETTING}: {error}"))?.close().await;
    Ok(reached)
}

async fn database(loader: Loader) -> Result<Reached, Box<dyn Error>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&heard);
    let builder =
        DatabaseConnection::load(loader).observer(move |event: &Event, _: &EventContext<'_>| {
            if let Event::Warned { setting, message } = event {
                note.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push((*setting, message.clone()));
            }
        });
    let database = builder.connect().await.map_err(|error| format!("{SETTING}: {error}"))?;
    let mut warned = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
    // Conflicting settings are already explained, with their sources.
    let config = &database.settings().db.pool;
    let explained: Vec<_> = config
        .null_conflicts()
        .iter()
        .chain(&config.conflicts())
        .map(ToString::to_string)
        .collect();
    warned.retain(|(_, message)| !explained.contains(message));
    let seems_pooled = warned.iter().any(|(setting, _)| *setting == "behind");
    let server = match (database.dialect(), database.settings().db.behind) {
        (dialect @ Dialect::Postgres, Pooler::PgBouncer) => {
            format!("{dialect} through a transaction pooler")
        }
        (dialect @ Dialect::Postgres, _) if !seems_pooled => {
            format!("{dialect}; no transaction pooler was detected in front of it")
        }
        (dialect, _) => dialect.to_string(),
    };
    let _ = database.close().await;
    let warnings = warned.into_iter().map(|(_, message)| message).collect();
    Ok(Reached { warnings, ..Reached::new(SETTING, server) })
}
