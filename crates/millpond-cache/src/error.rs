//! The errors of a cache.

use millpond_core::SharedError;
use millpond_redis::RedisError;
use std::fmt;
use std::time::Duration;

/// An error of a cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CacheError {
    /// Redis does not answer or refuses a command. With `on_outage = open` an outage is an error
    /// only for a delete, a counter and a clear.
    Redis(RedisError),
    /// The loader failed; all callers that waited for it get the same error.
    Load(SharedError),
    /// As many loaders as `loads_max` allows were running during all of `load_timeout`.
    Busy {
        /// The setting.
        loads_max: usize,
        /// How long the caller waited.
        waited: Duration,
    },
    /// The loader took longer than `load_timeout`.
    LoadTimedOut {
        /// The limit.
        limit: Duration,
    },
    /// A loader requested, directly or through other loaders, a value that waits for this loader.
    Circle,
    /// A value is larger than `max_value_size`. It was not stored.
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// The codec could not write a value, or could not read back what the loader returned.
    Codec(SharedError),
    /// Settings are wrong; all problems at once.
    Setting {
        /// The settings, their values unless secret, and what to do.
        reason: String,
    },
}

impl fmt::Display for CacheError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(error) => {
                write!(f, "the cache could not reach Redis, or Redis refused: {error}")
            }
            Self::Load(error) => write!(f, "the value could not be loaded: {error}"),
            Self::Busy { loads_max, waited } => write!(
                f,
                "loads_max = {loads_max} loaders were at work for {:.2} s: raise it, or load less",
                waited.as_secs_f64()
            ),
            Self::LoadTimedOut { limit } => {
                write!(
                    f,
                    "the value was not loaded within \
                    load_timeout = {:.2} s",
                    limit.as_secs_f64()
                )
            }
            Self::Circle => f.write_str(
                "the loader asks for a value whose own loader waits for this one: load one of them \
                 without the cache",
            ),
            Self::TooLarge { size, limit } => {
                write!(
                    f,
                    "a value of {size} bytes is larger than max_value_size = {limit}: it \
                     was not stored"
                )
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
