//! The loaded settings: plain values, one struct per section of the file.

use std::time::Duration;

use millpond_settings::{
    PoolConfig, PoolKind, Pooler, ResetLevel, TCP_KEEPALIVE, TCP_USER_TIMEOUT,
};

use crate::explain::Explanation;
use crate::secret::Secret;

/// All settings of a service, validated, each from the highest layer that sets it.
///
/// Returned by [`Settings::loader`]. The fields are plain and may be changed; [`PoolConfig::check`]
/// runs again when the pool is built.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The selected preset: `preset` in a file, `PSN_PRESET`, or
    /// [`Loader::preset`](crate::Loader::preset). Default none.
    pub preset: Option<String>,
    /// `[storage]`: the database.
    pub storage: StorageSettings,
    /// `[db]`: the database's pool.
    pub db: DbSettings,
    /// `[redis]`: the pool of the rate limiter.
    pub redis: RedisSettings,
    /// `[cache]`: the pool of the Redis cache.
    pub cache: RedisSettings,
    pub(crate) explanation: Explanation,
}

/// `[storage]`: the location of the database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StorageSettings {
    /// The URL of the database, `PSN_STORAGE_CONNECTION_STRING`. Default unset.
    pub connection_string: Option<Secret>,
}

/// `[db]`: the behaviour of the database's pool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DbSettings {
    /// Sizes and times. Every field is a setting of the same name, such as `db.pool_size` or
    /// `PSN_DB_POOL_SIZE`; the fields of [`PoolConfig`] document units, defaults and ranges.
    pub pool: PoolConfig,
    /// `reset`: what is reset between two borrowers. Default [`ResetLevel::Transaction`].
    pub reset: ResetLevel,
    /// `pool`: which pool lends the connections. Default `None` ("auto"): the one that suits the
    /// database.
    pub kind: Option<PoolKind>,
    /// `behind`: what is between the pool and its server; PostgreSQL only. Default
    /// [`Pooler::Direct`] ("server").
    pub behind: Pooler,
    /// `cancel_abandoned`: whether abandoned statements that still run are cancelled at the server.
    /// Default `true`; PostgreSQL and MySQL, and not behind a pooler.
    pub cancel_abandoned: bool,
    /// `tcp_keepalive`: how long a TCP connection is idle before the kernel checks whether the
    /// server is still there, `None` for never ("off"). Default 60 s, range 1-3600 s; PostgreSQL
    /// and MySQL, on Linux.
    pub tcp_keepalive: Option<Duration>,
    /// `tcp_user_timeout`: how long data sent over a TCP connection may stay unacknowledged, or
    /// unread by a live server, `None` for as long as the kernel allows ("off"). Default 300 s, or
    /// five times `tcp_keepalive` if that is less; range 1-3600 s; PostgreSQL and MySQL, on Linux.
    pub tcp_user_timeout: Option<Duration>,
}

impl Default for DbSettings {
    fn default() -> Self {
        Self {
            pool: PoolConfig::default(),
            reset: ResetLevel::default(),
            kind: None,
            behind: Pooler::default(),
            cancel_abandoned: true,
            tcp_keepalive: Some(TCP_KEEPALIVE),
            tcp_user_timeout: Some(TCP_USER_TIMEOUT),
        }
    }
}

/// `[redis]` or `[cache]`: a pool of Redis connections.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedisSettings {
    /// The URL of the server, which may contain a password: `PSN_REDIS_URL`, `PSN_CACHE_URL`.
    /// Default unset.
    pub url: Option<Secret>,
    /// The most connections in the pool. Default 20 for `[redis]`, 50 for `[cache]`, range 10-200.
    pub max_connections: u32,
    /// `tcp_keepalive`: how long a TCP connection is idle before the kernel checks whether the
    /// server is still there, `None` for never ("off"). Default 60 s, range 1-3600 s. Parameters of
    /// the URL override this setting.
    pub tcp_keepalive: Option<Duration>,
    /// `tcp_user_timeout`: how long data sent over a TCP connection may stay unacknowledged, `None`
    /// for as long as the kernel allows ("off"). Default 300 s, or one and a half times
    /// `tcp_keepalive` (at least 3 s more) if that is less; range 1-3600 s; on Linux. Parameters of
    /// the URL override this setting.
    pub tcp_user_timeout: Option<Duration>,
}

impl RedisSettings {
    fn of(max_connections: u32) -> Self {
        Self {
            url: None,
            max_connections,
            tcp_keepalive: Some(TCP_KEEPALIVE),
            tcp_user_timeout: Some(TCP_USER_TIMEOUT),
        }
    }
}

impl Settings {
    /// Returns each effective value and its source, as they were loaded; later changes to the
    /// fields are not shown.
    pub fn explain(&self) -> &Explanation {
        &self.explanation
    }
}

/// The defaults, without loading anything; the explanation is empty.
impl Default for Settings {
    fn default() -> Self {
        Self {
            preset: None,
            storage: StorageSettings::default(),
            db: DbSettings::default(),
            redis: RedisSettings::of(20),
            cache: RedisSettings::of(50),
            explanation: Explanation { rows: Vec::new(), warnings: Vec::new() },
        }
    }
}
