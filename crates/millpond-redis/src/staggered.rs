//! Tries several addresses of a host, or nodes of a cluster, one after the other: the next one when
//! one fails, and after a moment beside it.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::future::Future;
use std::time::Duration;
use tokio::time::sleep;

/// Returns the first success, or all errors.
///
/// # Cancel safety
///
/// All attempts are dropped.
pub(crate) async fn staggered<T, E>(
    attempts: impl IntoIterator<Item = impl Future<Output = Result<T, E>>>,
    delay: Duration,
) -> Result<T, Vec<E>> {
    let mut attempts = attempts.into_iter();
    let (mut trying, mut failed) = (FuturesUnordered::new(), Vec::new());
    let mut next = attempts.next();
    while next.is_some() || !trying.is_empty() {
        if let Some(attempt) = next.take() {
            trying.push(attempt);
            next = attempts.next();
        }
        tokio::select! {
            biased;
            Some(outcome) = trying.next() => match outcome {
                Ok(success) => return Ok(success),
                Err(error) => failed.push(error),
            },
            () = sleep(delay), if next.is_some() => {}
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const DELAY: Duration = Duration::from_millis(250);

    #[tokio::test(start_paused = true)]
    async fn the_next_is_tried_after_a_failure_at_once_and_beside_one_that_hangs() {
        let since = Instant::now();
        let hangs = async |answers: bool| {
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok::<_, &str>(answers)
        };
        assert_eq!(staggered([hangs(false), hangs(true)], DELAY).await, Ok(true));
        assert_eq!(since.elapsed(), DELAY);
        let since = Instant::now();
        let outcome = staggered(["a", "b"].map(async |error| Err::<(), _>(error)), DELAY).await;
        assert_eq!(outcome, Err(vec!["a", "b"]));
        assert_eq!(since.elapsed(), Duration::ZERO);
        let none: [std::future::Ready<Result<(), &str>>; 0] = [];
        assert_eq!(staggered(none, DELAY).await, Err(vec![]));
    }
}
