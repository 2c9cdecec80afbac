//! The end of a connection whose oldest command has gone without an answer for too long, whether anybody still waits or not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest limit; a moment that is further away cannot be told.
const LONGEST: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// Since when something is under way, and how long it may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) since: Instant,
    pub(crate) limit: Duration,
}

impl Patience {
    /// Begins now.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { since: Instant::now(), limit }
    }

    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }

    /// When it is over.
    pub(crate) fn end(&self) -> Instant {
        self.since + self.limit.min(LONGEST)
    }
}

/// The timer of one connection. It follows the oldest command, and is set again only when it has gone off.
#[derive(Debug, Default)]
pub(crate) struct Overdue {
    timer: Option<Pin<Box<Sleep>>>,
}

impl Overdue {
    /// Ready when the oldest command is overdue, which is due at this moment; `None` if all are answered.
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

/// Why such a connection is closed.
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
        assert!(wait(Some(2 * second + second / 2)).await, "a shorter limit came behind a longer one");
        assert!(!wait(Some(60 * second)).await);
    }
}
