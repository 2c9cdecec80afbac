//! What the load is for: a database or a Redis server, through the pool of the settings.

use crate::drive::{Waits, record};
use crate::load;
use millpond::redis::{Command, RedisPool, RedisPoolOptions};
use millpond::{DatabaseConnection, Limits, Loader, Settings, Status};
use sqlx::AssertSqlSafe;
use std::error::Error;
use std::sync::Arc;

/// A pool, and the query that is sent again and again.
#[derive(Debug, Clone)]
pub enum Target {
    Database { pool: DatabaseConnection, query: Arc<str> },
    Redis { pool: RedisPool, words: Arc<[String]> },
}

impl Target {
    /// Connects to the database of the settings, else to the Redis server of the cache, else to
    /// that of the rate limiter.
    ///
    /// # Errors
    ///
    /// Returns why no connection could be opened. A missing SQLite file is not created.
    pub async fn open(
        loader: Loader,
        settings: &Settings,
        query: Option<&str>,
        waits: &Waits,
    ) -> Result<Self, Box<dyn Error>> {
        if settings.storage.connection_string.is_some() {
            if let Some(file) = load::database_file(settings).filter(|file| !file.exists()) {
                return Err(format!("there is no database {}", file.display()).into());
            }
            let builder = DatabaseConnection::load(loader).name("load").observer(record(waits));
            let query = Arc::from(query.unwrap_or("SELECT 1"));
            return Ok(Self::Database { pool: builder.connect().await?, query });
        }
        let sections = [&settings.cache, &settings.redis];
        let Some(section) = sections.into_iter().find(|section| section.url.is_some()) else {
            return Err("no server is named; give a URL, or set one in the settings".into());
        };
        let url = section.url.as_ref().map_or("", |url| url.expose());
        let options = RedisPoolOptions::new().name("load").limits(Limits::Off);
        let options = options.max_connections(section.max_connections).observer(record(waits));
        let words = query.unwrap_or("PING").split_whitespace().map(str::to_owned).collect();
        Ok(Self::Redis { pool: options.connect(url).await?, words })
    }

    /// Sends the query once.
    ///
    /// # Errors
    ///
    /// Returns the error of the pool or of the server.
    pub async fn ask(&self) -> Result<(), String> {
        match self {
            Self::Database { pool, query } => {
                let query = sqlx::query(AssertSqlSafe(query.to_string()));
                query.execute(pool).await.map(drop).map_err(|error| error.to_string())
            }
            Self::Redis { pool, words } => {
                let Some((name, rest)) = words.split_first() else { return Ok(()) };
                let command = Command::new(name.clone());
                let command = rest.iter().fold(command, |command, word| command.arg(word.as_str()));
                let answer: Result<millpond::redis::Value, _> = pool.run(command).await;
                answer.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Opens that many connections, so that no query has to wait for it.
    ///
    /// # Errors
    ///
    /// Returns why a connection could not be opened.
    pub async fn prewarm(&self, connections: u32) -> Result<(), Box<dyn Error>> {
        match self {
            // In memory there is one connection, whatever the settings say.
            Self::Database { pool, .. } => {
                Ok(pool.prewarm(connections.min(pool.status().pool_size)).await?)
            }
            Self::Redis { pool, .. } => Ok(pool.as_core().prewarm(connections).await?),
        }
    }

    /// Returns what the server is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Database { pool, .. } => pool.dialect().name(),
            Self::Redis { .. } => "Redis",
        }
    }

    /// Returns the counts of the pool.
    pub fn status(&self) -> Status {
        match self {
            Self::Database { pool, .. } => pool.status(),
            Self::Redis { pool, .. } => pool.status(),
        }
    }

    /// Closes the pool.
    pub async fn close(&self) {
        let _ = match self {
            Self::Database { pool, .. } => pool.close().await,
            Self::Redis { pool, .. } => pool.close().await,
        };
    }
}
