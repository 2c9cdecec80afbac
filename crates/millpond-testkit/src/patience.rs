//! Waiting for a condition without sleeping.

use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::timeout;

/// How long a test waits for a condition.
const LIMIT: Duration = Duration::from_secs(60);

/// Checks a condition until it is true, for at most one minute; other tasks run in between.
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
/// If the condition is still false after a minute.
///
/// # Cancel safety
///
/// The condition is not checked again after the future is dropped.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            yield_now().await;
        }
    };
    timeout(LIMIT, asking).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"));
}
