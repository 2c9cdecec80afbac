//! When a connection is closed because its oldest command has had no answer for too long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest limit: later moments may not be representable.
const LONGEST: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// A start and a limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) since: Instant,
    pub(crate) limit: Duration,
}

impl Deadline {
    /// Starts now.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { since: Instant::now(), limit }
    }

    /// How much of the limit is left.
    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }

    /// When the limit is reached.
    pub(crate) fn end(&self) -> Instant {
        self.since + self.limit.min(LONGEST)
    }
}

/// The timer of one connection. It follows the oldest command, and is reset only when it fires or
/// the oldest command is due earlier.
#[derive(Debug, Default)]
pub(crate) struct Overdue {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Overdue {
    /// Ready when the oldest command, which is due at `oldest`, is overdue. `None` means that every
    /// command is answered.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, oldest: Option<Instant>) -> Poll<()> {
        let Some(due) = oldest else { return Poll::Pending };
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.deadline() > due {
                timer.as_mut().reset(due);
            }
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() == due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

/// The reason that callers of such a connection see.
pub(crate) const SILENT: &str = "the server has not answered in time";

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn the_timer_follows_the_oldest_command() {
        let second = Duration::from_secs(1);
        let (since, mut overdue) = (Instant::now(), Overdue::default());
        let mut wait = async |due: Option<Duration>| {
            let due = due.map(|due| since + due);
            tokio::time::timeout(second, poll_fn(|cx| overdue.poll(cx, due))).await.is_ok()
        };
        assert!(!wait(Some(60 * second)).await);
        assert!(!wait(None).await, "it is answered");
        assert!(
            wait(Some(2 * second + second / 2)).await,
            "a shorter limit came behind a longer one"
        );
        assert!(!wait(Some(60 * second)).await);
    }
}
