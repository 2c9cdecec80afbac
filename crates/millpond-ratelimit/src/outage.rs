//! What is decided while Redis is down, and when it is asked again.

use millpond_redis::RedisError;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::time::Instant;

/// For how long nobody asks Redis after it has failed.
const PAUSE: Duration = Duration::from_millis(200);

/// What is decided while Redis is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// Everything is admitted.
    Open,
    /// Nothing is admitted.
    Closed,
    /// Each process keeps the limits by itself, for at most so many keys; those beyond share one. With `n` processes up
    /// to `n` times the limit is admitted.
    Local {
        /// How many keys are kept in memory.
        keys: usize,
    },
}

impl Default for OnOutage {
    fn default() -> Self {
        Self::Local { keys: 10_000 }
    }
}

/// Whether an error means that Redis is down, rather than that it refuses.
pub(crate) fn is_outage(error: &RedisError) -> bool {
    match error {
        RedisError::Pool(_) | RedisError::TimedOut { .. } | RedisError::Lost { .. } => true,
        RedisError::Server { code, .. } => matches!(
            code.as_str(),
            "LOADING"
                | "CLUSTERDOWN"
                | "MASTERDOWN"
                | "READONLY"
                | "TRYAGAIN"
                | "BUSY"
                | "OOM"
                | "MISCONF"
                | "NOREPLICAS"
                | "UNBLOCKED"
        ),
        _ => false,
    }
}

/// Remembers that Redis is down, so that not every request has to find out.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    until: Mutex<Option<Instant>>,
}

impl Breaker {
    /// Whether to ask Redis. After a pause one caller may, and the others wait for what becomes of it.
    pub(crate) fn may_ask(&self) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match *until {
            None => true,
            Some(moment) if Instant::now() < moment => false,
            Some(_) => {
                *until = Some(Instant::now() + PAUSE);
                true
            }
        }
    }

    /// It has answered, or has not.
    pub(crate) fn note(&self, is_up: bool) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if is_up != until.is_none() {
            *until = (!is_up).then(|| Instant::now() + PAUSE);
        }
    }

    /// The pause.
    pub(crate) fn pause() -> Duration {
        PAUSE
    }
}
