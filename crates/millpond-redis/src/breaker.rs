//! A circuit breaker: a Redis that is known to be down is asked only now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long Redis is not asked after a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// Remembers that Redis is down, for callers that can do without it.
#[derive(Debug, Default)]
pub struct Breaker {
    until: Mutex<Option<Instant>>,
}

impl Breaker {
    /// Returns whether to ask Redis. After a failure, one caller per pause may.
    pub fn may_ask(&self) -> bool {
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

    /// Records whether Redis has answered.
    pub fn note(&self, is_up: bool) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if is_up != until.is_none() {
            *until = (!is_up).then(|| Instant::now() + PAUSE);
        }
    }

    /// How long Redis is not asked after a failure: 200 ms.
    pub const PAUSE: Duration = PAUSE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_one_caller_each_pause_finds_out() {
        let breaker = Breaker::default();
        assert!(breaker.may_ask() && breaker.may_ask());
        breaker.note(false);
        assert!(!breaker.may_ask());
        tokio::time::advance(PAUSE).await;
        assert!(breaker.may_ask());
        assert!(!breaker.may_ask(), "one is enough");
        breaker.note(true);
        assert!(breaker.may_ask() && breaker.may_ask());
    }
}
