//! Not asking a Redis that is known to be down.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// For how long nobody asks Redis after it has failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Remembers that Redis is down, so that not every caller has to find out: for who has another way on.
#[derive(Debug, Default)]
pub struct Breaker {
    until: Mutex<Option<Instant>>,
}

impl Breaker {
    /// Whether to ask. After a pause one caller may, and the others wait for what becomes of it.
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

    /// It has answered, or has not.
    pub fn note(&self, is_up: bool) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if is_up != until.is_none() {
            *until = (!is_up).then(|| Instant::now() + PAUSE);
        }
    }

    /// For how long nobody asks after a failure: 200 ms.
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
