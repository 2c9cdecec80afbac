//! Waiting for what happens, without sleeping.

use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::timeout;

/// How long a test waits for what is bound to happen.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks until it is so, for a minute at most; other tasks run in between.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use millpond_testkit::until;
///
/// let task = tokio::spawn(async {});
/// until("the task has ended", async || task.is_finished()).await;
/// # });
/// ```
///
/// # Panics
///
/// If it has not come to be so by then.
///
/// # Cancel safety
///
/// Nothing is asked any more once the future is dropped.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            yield_now().await;
        }
    };
    timeout(LIMIT, asking).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"));
}
