//! Connecting to every server that the settings name, as a service would, and what its pool says of
//! it.

use millpond::redis::RedisPoolOptions;
use millpond::{DatabaseConnection, Dialect, Event, EventContext, Loader, Pooler, Settings};
use serde_json::{Value, json};
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

/// A server to which a connection was opened.
#[derive(Debug)]
pub struct Reached {
    /// The setting that names it.
    pub setting: &'static str,
    /// What it is, and whether there is a pooler in front of it.
    pub server: String,
    /// What the pool found out about settings that do not suit it.
    pub warnings: Vec<String>,
}

impl Reached {
    /// The same for machines.
    pub fn to_json(&self) -> Value {
        json!({ "setting": self.setting, "server": self.server, "warnings": self.warnings })
    }
}

/// Opens a connection to each.
///
/// # Errors
///
/// Which one could not be reached within `pool_timeout`, and why; a pooler that lends its servers
/// for a transaction is among the reasons, unless the settings say that it is there.
pub fn servers(loader: &Loader, settings: &Settings) -> Result<Vec<Reached>, Box<dyn Error>> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut reached = Vec::new();
        if settings.storage.connection_string.is_some() {
            reached.push(database(loader.clone()).await?);
        }
        for (setting, redis) in [("redis.url", &settings.redis), ("cache.url", &settings.cache)] {
            if let Some(url) = &redis.url {
                let pool = RedisPoolOptions::new().connect(url.expose()).await;
                let pool = pool.map_err(|error| format!("{setting}: {error}"))?;
                let _ = pool.close().await;
                reached.push(Reached { setting, server: "Redis".to_owned(), warnings: Vec::new() });
            }
        }
        Ok(reached)
    })
}

async fn database(loader: Loader) -> Result<Reached, Box<dyn Error>> {
    const SETTING: &str = "storage.connection_string";
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
    // Settings that do not go together are explained already, with their sources.
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
            format!("{dialect}; no transaction pooler was noticed in front of it")
        }
        (dialect, _) => dialect.to_string(),
    };
    let _ = database.close().await;
    Ok(Reached {
        setting: SETTING,
        server,
        warnings: warned.into_iter().map(|(_, message)| message).collect(),
    })
}
