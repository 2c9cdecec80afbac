//! What can go wrong with a cache.

use millpond_core::SharedError;
use millpond_redis::RedisError;
use std::fmt;
use std::time::Duration;

/// What can go wrong with a cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CacheError {
    /// Redis does not answer or refuses. With `on_outage = open` only what would be wrong to swallow: a delete, a counter.
    Redis(RedisError),
    /// The loader failed; all who waited for it share its error.
    Load(SharedError),
    /// As many loaders were at work as `loads_max` allows, for `load_timeout`.
    Busy {
        /// How many.
        loads_max: usize,
        /// How long was waited.
        waited: Duration,
    },
    /// The loader took longer than `load_timeout`.
    LoadTimedOut {
        /// The limit.
        limit: Duration,
    },
    /// A loader has asked, itself or through other loaders, for a value that waits for this loader.
    Circle,
    /// A value is larger than `max_value_size`. It was not stored.
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A value cannot be written, or the loader's own cannot be read back.
    Codec(SharedError),
    /// The settings: all problems at once.
    Setting {
        /// Which, their values unless they are secret, and the way out.
        reason: String,
    },
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => write!(f, "the cache cannot be asked: {error}"),
            Self::Load(error) => write!(f, "the value could not be loaded: {error}"),
            Self::Busy { loads_max, waited } => write!(
                f,
                "loads_max = {loads_max} loaders were at work for {:.2} s: raise it, or load less",
                waited.as_secs_f64()
            ),
            Self::LoadTimedOut { limit } => {
                write!(f, "the value was not loaded within load_timeout = {:.2} s", limit.as_secs_f64())
            }
            Self::Circle => f.write_str(
                "the loader asks for a value whose own loader waits for this one: load one of them without the cache",
            ),
            Self::TooLarge { size, limit } => {
                write!(f, "a value of {size} bytes is larger than max_value_size = {limit}: it was not stored")
            }
            Self::Codec(error) => write!(f, "the value does not fit its codec: {error}"),
            Self::Setting { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for CacheError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Redis(error) => Some(error),
            Self::Load(error) | Self::Codec(error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl From<RedisError> for CacheError {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}
