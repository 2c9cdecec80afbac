//! `Borrower`: an acquire of a share, from its start to its end.

use crate::member::Member;
use millpond_core::{Lease, LeaseOwner, Manager, PoolError, Request, Shares, WaitOutcome};
use millpond_runtime::{Time, Timer, cooperate, until, yield_now};
use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

/// A share of a connection, on loan to one of several borrowers.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the share goes back when its lease is dropped"]
pub struct Share<S: Send + 'static> {
    /// The lease for the borrower.
    pub lease: Lease<S>,
    /// True if the connection has not been checked for `pre_ping_idle`, neither by the pool nor by
    /// [`Multiplexer::ping`](crate::Multiplexer::ping). Of the shares that are lent in the
    /// meantime, only one has this set.
    pub ping_due: bool,
}

impl<S: Send + 'static> Share<S> {
    pub(crate) fn lend<M: Manager>(
        shares: &Shares<M>,
        request: Request,
        since: Option<Time>,
        member: &Member<M>,
        share: S,
        owner: Arc<dyn LeaseOwner<S>>,
    ) -> Self {
        let (lease, ping_due) = shares.lend(request, since, &member.lease, share, owner);
        Self { lease, ping_due }
    }
}

/// A caller of a pool over a [`Multiplexer`](crate::Multiplexer), from the start to the end of its
/// acquire. A borrower that is dropped before its acquire has ended counts as cancelled.
#[must_use = "a borrower that is dropped counts as cancelled"]
pub struct Borrower<'a, M: Manager> {
    shares: &'a Shares<M>,
    request: Request,
    number: u64,
    since: Time,
    limit: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asking,
    /// Refused because connecting fails; the borrower tries once more.
    RefusedOnce,
    Waiting,
    Ended,
}

impl<'a, M: Manager> Borrower<'a, M> {
    pub(crate) async fn begin(shares: &'a Shares<M>, limit: Duration, request: Request) -> Self {
        poll_fn(cooperate).await;
        let (number, since) = shares.begin_acquire();
        let limit = request.limit.unwrap_or(limit);
        Self { shares, request, number, since, limit, state: State::Asking }
    }

    /// Waits until `ready` completes, at most until the deadline of the acquire. May return early,
    /// so check again afterwards whether a connection can be shared. Create `ready` before that
    /// check, so that it misses nothing.
    ///
    /// # Errors
    ///
    /// The errors of an acquire: [`PoolError::TimedOut`] at the deadline; [`PoolError::Closed`];
    /// [`PoolError::TooManyWaiters`] if `max_waiters` callers wait; [`PoolError::Connect`] if the
    /// server has been unreachable for long; and [`PoolError::NoRuntime`]. Pass the error to
    /// [`fail`](Self::fail).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the borrower may wait again.
    pub async fn wait(&mut self, ready: impl Future) -> Result<(), PoolError> {
        let shares = self.shares;
        if !shares.ensure_maintenance()? {
            return Ok(());
        }
        let deadline = self.since.after(self.limit);
        if shares.now() >= deadline {
            return Err(shares.timed_out(self.limit));
        }
        if self.state != State::Waiting {
            match shares.wait(self.number, self.since, self.state == State::RefusedOnce) {
                WaitOutcome::Joined => self.state = State::Waiting,
                WaitOutcome::Refused(error) => return Err(error),
                WaitOutcome::AskAgain(at) => {
                    self.state = State::RefusedOnce;
                    pause(shares, at.min(deadline), ready).await;
                    return Ok(());
                }
            }
        }
        // A new timer each time: the runtime of the last one may have ended.
        let Some(timer) = shares.timer(deadline) else { return Err(PoolError::NoRuntime) };
        until(elapsed(timer), ready).await;
        Ok(())
    }

    /// Ends the acquire with a share of `member`. When the share ends, it is passed to `owner`,
    /// which has to call [`Multiplexer::take_back`](crate::Multiplexer::take_back).
    pub fn lend<S: Send + 'static>(
        mut self,
        member: &Member<M>,
        share: S,
        owner: Arc<dyn LeaseOwner<S>>,
    ) -> Share<S> {
        self.leave();
        Share::lend(self.shares, self.request, Some(self.since), member, share, owner)
    }

    /// Ends the acquire with an error. Counts, reports and returns the error.
    pub fn fail(mut self, error: PoolError) -> PoolError {
        self.leave();
        self.shares.not_lent(self.request, self.since, Some(&error));
        error
    }

    fn leave(&mut self) {
        if self.state == State::Waiting {
            self.shares.stop_waiting(self.number, self.since);
        }
        self.state = State::Ended;
    }
}

impl<M: Manager> Drop for Borrower<'_, M> {
    fn drop(&mut self) {
        if self.state != State::Ended {
            self.leave();
            self.shares.not_lent(self.request, self.since, None);
        }
    }
}

impl<M: Manager> fmt::Debug for Borrower<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Borrower");
        debug.field("request", &self.request).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Lets other tasks run, and time pass, before a refused caller tries once more; returns early if
/// `something_happens` completes.
async fn pause<M: Manager>(shares: &Shares<M>, end: Time, something_happens: impl Future) {
    let timer = if end > shares.now() { shares.timer(end) } else { None };
    match timer {
        Some(timer) => _ = until(elapsed(timer), something_happens).await,
        None => yield_now().await,
    }
}

/// Waits until the timer has elapsed or its runtime has ended.
async fn elapsed(mut timer: Timer) {
    poll_fn(
        |cx| if timer.poll_elapsed(cx) == Some(false) { Poll::Pending } else { Poll::Ready(()) },
    )
    .await;
}
