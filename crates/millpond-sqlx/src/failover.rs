//! Detects failovers: a suspicious error triggers one check, not a pool reset.
//!
//! A server that refuses a write may have become a standby, or the transaction was read-only on
//! purpose. So such an error only makes a check due. The next connection that the maintenance task
//! pings or resets queries the server; if it no longer accepts writes although the pool's servers
//! did before, all connections opened so far are invalidated.

use sqlx::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two checks.
const PAUSE: Duration = Duration::from_secs(1);

/// Detects that the pool's server no longer accepts writes. The pool's manager keeps one.
#[derive(Debug, Default)]
pub struct FailoverDetector(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    suspected: bool,
    /// Whether a server of this pool has ever accepted writes: a pool of standbys cannot fail over.
    wrote: bool,
    checked: Option<Instant>,
}

impl FailoverDetector {
    /// Creates a detector without a suspicion.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records whether the server of a new connection accepts writes.
    pub fn connected(&self, takes_writes: bool) {
        self.state().wrote |= takes_writes;
    }

    /// Returns true if a server of this pool is known to have accepted writes.
    pub fn has_written(&self) -> bool {
        self.state().wrote
    }

    /// Records an error that may indicate a failover.
    pub fn suspect(&self) {
        self.state().suspected = true;
    }

    /// Runs a check if one is due, which is so for at most one caller per second: awaits
    /// `takes_writes`, which queries the server. Returns whether a check was due.
    ///
    /// # Errors
    ///
    /// An error of which [`is_failover`] is true if the server does not accept writes; those of
    /// `takes_writes`.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the check is due again a second later.
    pub async fn check_if_due(
        &self,
        takes_writes: impl Future<Output = Result<bool, Error>>,
    ) -> Result<bool, Error> {
        let due = self.is_due_at(Instant::now());
        if due {
            self.check(takes_writes).await?;
        }
        Ok(due)
    }

    async fn check(
        &self,
        takes_writes: impl Future<Output = Result<bool, Error>>,
    ) -> Result<(), Error> {
        let takes_writes = takes_writes.await?;
        self.state().suspected = false;
        if takes_writes { Ok(()) } else { Err(Error::Io(io::Error::other(FailedOver))) }
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut state = self.state();
        let is_recent =
            state.checked.is_some_and(|checked| now.saturating_duration_since(checked) < PAUSE);
        let due = state.suspected && state.wrote && !is_recent;
        if due {
            state.checked = Some(now);
        }
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if an error is a confirmed failover, for `Manager::classify`.
pub fn is_failover(error: &Error) -> bool {
    let Error::Io(error) = error else { return false };
    error.get_ref().is_some_and(|cause| cause.is::<FailedOver>())
}

/// The server no longer accepts writes.
#[derive(Debug)]
struct FailedOver;

impl fmt::Display for FailedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server no longer accepts writes: a failover")
    }
}

impl std::error::Error for FailedOver {}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::{pending, ready};

    #[test]
    fn only_a_server_that_has_taken_writes_is_suspected() {
        let failover = FailoverDetector::new();
        failover.connected(false);
        failover.suspect();
        assert!(!failover.has_written() && !failover.is_due_at(Instant::now()));
        failover.connected(true);
        failover.connected(false);
        assert!(failover.has_written() && failover.is_due_at(Instant::now()));
    }

    #[test]
    fn a_check_runs_at_most_once_per_second() {
        let (failover, now) = (FailoverDetector::new(), Instant::now());
        failover.connected(true);
        assert!(!failover.is_due_at(now), "nothing is suspected");
        failover.suspect();
        assert!(failover.is_due_at(now));
        failover.suspect();
        assert!(!failover.is_due_at(now + Duration::from_millis(999)));
        assert!(failover.is_due_at(now + PAUSE), "a check that was cut off is made again");
    }

    #[test]
    fn a_check_confirms_the_suspicion_or_drops_it() {
        let (failover, now) = (FailoverDetector::new(), Instant::now());
        failover.connected(true);
        failover.suspect();
        assert!(failover.check(pending()).now_or_never().is_none());
        assert!(failover.is_due_at(now), "it was not made");
        failover.check(ready(Ok(true))).now_or_never().unwrap().unwrap();
        assert!(!failover.is_due_at(now + PAUSE));
        let error = failover.check(ready(Ok(false))).now_or_never().unwrap().unwrap_err();
        assert!(is_failover(&error) && !is_failover(&Error::Io(io::ErrorKind::BrokenPipe.into())));
    }
}
