//! A clock that stands still while real servers go on answering.

use std::fmt;
use std::sync::mpsc;
use std::time::Duration;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time;

/// Stops tokio's clock until the value is dropped: time passes only when the test calls
/// [`pass`](Self::pass).
///
/// tokio's own paused clock advances whenever the runtime is idle, which includes waiting for a
/// socket. This one does not, so a test with a real server can go through an outage of minutes in a
/// moment.
///
/// ```
/// use millpond_testkit::StillClock;
/// use std::time::Duration;
/// use tokio::time::Instant;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let clock = StillClock::stop();
/// let start = Instant::now();
/// clock.pass(Duration::from_secs(60)).await;
/// assert_eq!(start.elapsed(), Duration::from_secs(60));
/// # });
/// ```
pub struct StillClock {
    /// A blocking task keeps the clock from advancing; it ends when this sender is dropped.
    _running: mpsc::Sender<()>,
}

impl StillClock {
    /// Stops the clock.
    ///
    /// # Panics
    ///
    /// Outside a current-thread runtime of tokio, and if the clock is paused already.
    pub fn stop() -> Self {
        let (running, ended) = mpsc::channel();
        spawn_blocking(move || ended.recv());
        time::pause();
        Self { _running: running }
    }

    /// Lets this much time pass at once.
    ///
    /// # Cancel safety
    ///
    /// The time has passed if the future was polled.
    pub async fn pass(&self, time: Duration) {
        time::advance(time).await;
        yield_now().await;
    }
}

impl Drop for StillClock {
    fn drop(&mut self) {
        time::resume();
    }
}

impl fmt::Debug for StillClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StillClock").finish_non_exhaustive()
    }
}
