//! The errors of limiters.

use millpond_redis::RedisError;
use std::fmt;
use std::time::Duration;

/// An error that prevented a decision. Being over a limit is a decision, not an error.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RateLimitError {
    /// A limit that cannot be kept.
    Limit {
        /// Requests in a period.
        count: u32,
        /// The period.
        period: Duration,
        /// Requests at once.
        burst: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A request that costs more than a full burst: it would never be admitted, however long it
    /// waits.
    CostAboveBurst {
        /// The name of the limit.
        name: String,
        /// What it costs.
        cost: u32,
        /// The burst.
        burst: u32,
    },
    /// A name or prefix that cannot be part of a key, or a setting out of its range.
    Setting {
        /// The setting, its value unless secret, and what to do.
        reason: String,
    },
    /// Redis refuses although it is up: a key of another type, a missing permission.
    Redis(RedisError),
}

/// Returns an error of settings, from the error of the crate that refused them.
pub(crate) fn setting(error: &dyn std::error::Error) -> RateLimitError {
    RateLimitError::Setting { reason: error.to_string() }
}

impl fmt::Display for RateLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { count, period, burst, reason } => {
                write!(
                    f,
                    "a limit of count = {count}, period = {period:?}, burst = {burst} cannot be \
                     kept: {reason}"
                )
            }
            Self::CostAboveBurst { name, cost, burst } => write!(
                f,
                "a request of cost {cost} never fits into the limit `{name}`, whose burst is \
                 {burst}: split it, or raise the burst"
            ),
            Self::Setting { reason } => f.write_str(reason),
            Self::Redis(error) => write!(f, "the limit could not be checked: {error}"),
        }
    }
}

impl std::error::Error for RateLimitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Redis(error) => Some(error),
            _ => None,
        }
    }
}
