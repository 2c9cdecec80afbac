//! Lending shares of a connection to several borrowers at once: from a borrower's acquire to the
//! end of its share.

use crate::engine::Shared;
use crate::engine::call::call;
use crate::engine::validate::failed_ping;
use crate::ledger::{Caller, LeaseMeta, Ledger, LentShare, PooledConnection, WaitOutcome};
use crate::rt::{self, Time, Timer};
use crate::{CloseReason, ConnectionId, Lease, LeaseOwner, Manager, PoolError, Request};
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

/// A share of a connection, on loan to one of several borrowers.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "the share goes back when its lease is dropped"]
pub struct Share<S: Send + 'static> {
    /// What the borrower gets.
    pub lease: Lease<S>,
    /// Whether the connection was not checked for `pre_ping_idle`, by the pool or by a call of
    /// [`Multiplexer::ping`](crate::Multiplexer::ping). Only one of the shares that are lent
    /// meanwhile says so.
    pub ping_due: bool,
}

/// A caller of a pool over a [`Multiplexer`](crate::Multiplexer), from the beginning of its acquire
/// to its end. One that is dropped before its acquire has ended counts as cancelled.
#[must_use = "a borrower that is dropped counts as cancelled"]
pub struct Borrower<'a, M: Manager> {
    shared: &'a Arc<Shared<M>>,
    request: Request,
    number: u64,
    since: Time,
    limit: Duration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Asking,
    /// Refused because connecting fails; it asks once more.
    RefusedOnce,
    Waiting,
    Ended,
}

impl<'a, M: Manager> Borrower<'a, M> {
    pub(crate) async fn begin(shared: &'a Arc<Shared<M>>, request: Request) -> Self {
        poll_fn(rt::cooperate).await;
        let since = shared.now();
        let number = shared.change_at(since, |ledger, _| ledger.count_acquire());
        let limit = request.limit.unwrap_or(shared.config.pool_timeout);
        Self { shared, request, number, since, limit, state: State::Asking }
    }

    /// Waits until `ready` ends, at most until the deadline of the acquire. Returns early at times,
    /// so look again afterwards whether there is a connection to be shared, and make `ready` before
    /// that look, so that it misses nothing.
    ///
    /// # Errors
    ///
    /// Those of an acquire: [`PoolError::TimedOut`] at the deadline, [`PoolError::Closed`], with
    /// `max_waiters` waiting [`PoolError::TooManyWaiters`], if the server has been unreachable for
    /// long [`PoolError::Connect`], and [`PoolError::NoRuntime`]. Give it to [`fail`](Self::fail).
    ///
    /// # Cancel safety
    ///
    /// A borrower whose wait is dropped may wait again.
    pub async fn wait(&mut self, ready: impl Future) -> Result<(), PoolError> {
        let shared = self.shared;
        if shared.read(Ledger::is_closed) {
            return Err(PoolError::Closed);
        }
        if !shared.read(Ledger::has_task) {
            return if shared.ensure_maintenance() { Ok(()) } else { Err(PoolError::NoRuntime) };
        }
        let deadline = self.since.after(self.limit);
        if shared.now() >= deadline {
            return Err(self.timed_out());
        }
        if self.state != State::Waiting {
            let refused_once = self.state == State::RefusedOnce;
            let waits = shared.change(|ledger, now| {
                ledger.await_share(self.number, self.since, refused_once, now)
            });
            match waits {
                WaitOutcome::Joined => self.state = State::Waiting,
                WaitOutcome::Refused(error) => return Err(error),
                WaitOutcome::AskAgain(at) => {
                    self.state = State::RefusedOnce;
                    pause(shared, at.min(deadline), ready).await;
                    return Ok(());
                }
            }
        }
        // A new one each time: the runtime of the last one may have ended.
        let Some(timer) = shared.timer(deadline) else { return Err(PoolError::NoRuntime) };
        rt::until(elapsed(timer), ready).await;
        Ok(())
    }

    fn timed_out(&self) -> PoolError {
        let (shared, now) = (self.shared, self.shared.now());
        shared.read(|ledger| ledger.timed_out(None, self.limit, None, now))
    }

    /// Ends the acquire with a share of `member`. When the share ends,
    /// `owner` gets it, and has to call [`Multiplexer::take_back`](crate::Multiplexer::take_back).
    pub fn lend<S: Send + 'static>(
        mut self,
        member: &Member<M>,
        share: S,
        owner: Arc<dyn LeaseOwner<S>>,
    ) -> Share<S> {
        self.leave();
        self.shared.lend_share(self.request, Some(self.since), member, share, owner)
    }

    /// Ends the acquire with an error, which is counted, reported and given back.
    pub fn fail(mut self, error: PoolError) -> PoolError {
        self.leave();
        self.shared.share_not_lent(self.request, self.since, Some(&error));
        error
    }

    fn leave(&mut self) {
        if self.state == State::Waiting {
            self.shared.change(|ledger, _| ledger.stop_waiting_for_share(self.number, self.since));
        }
        self.state = State::Ended;
    }
}

impl<M: Manager> Drop for Borrower<'_, M> {
    fn drop(&mut self) {
        if self.state != State::Ended {
            self.leave();
            self.shared.share_not_lent(self.request, self.since, None);
        }
    }
}

opaque_debug!([M: Manager] Borrower<'_, M>, "Borrower", |it| {
    request: it.request, state: it.state
});

/// Lets other tasks run, and time pass, before a caller that was refused asks once more, unless
/// something happens before.
async fn pause<M: Manager>(shared: &Shared<M>, until: Time, something_happens: impl Future) {
    let timer = if until > shared.now() { shared.timer(until) } else { None };
    match timer {
        Some(timer) => _ = rt::until(elapsed(timer), something_happens).await,
        None => rt::yield_now().await,
    }
}

/// Waits until the timer has elapsed or its runtime has ended.
async fn elapsed(mut timer: Timer) {
    poll_fn(
        |cx| if timer.poll_elapsed(cx) == Some(false) { Poll::Pending } else { Poll::Ready(()) },
    )
    .await;
}

impl<M: Manager> Shared<M> {
    /// Lends a share of a member. The acquire began at `since`, or did not wait.
    pub(crate) fn lend_share<S: Send + 'static>(
        &self,
        request: Request,
        since: Option<Time>,
        member: &Member<M>,
        share: S,
        owner: Arc<dyn LeaseOwner<S>>,
    ) -> Share<S> {
        let (meta, now) = (member.meta(), self.loan_time());
        let caller = Caller { location: request.location, label: request.label, task: None };
        let LentShare { slot, ping_due } =
            self.change_at(now, |ledger, now| ledger.lend_share(meta, caller, since, now));
        let held = PooledConnection::new(share, LeaseMeta { slot, ..*meta });
        Share { lease: Lease::lend(held, owner), ping_due }
    }

    /// Takes a share back. Whether its borrower had it for longer than `max_lease`.
    pub(crate) fn end_share(&self, share: &LeaseMeta) -> bool {
        let is_timed = self.exact || self.config.max_lease.is_some();
        let now = if is_timed { self.loan_time() } else { Time::ZERO };
        self.change_at(now, |ledger, now| ledger.end_share(share, now))
    }

    /// An acquire of a share has failed, or was dropped.
    fn share_not_lent(&self, request: Request, since: Time, error: Option<&PoolError>) {
        self.change(|ledger, now| ledger.share_not_lent(request.location, since, error, now));
    }

    /// Pings a connection that is lent; a failure is reported and acted upon.
    pub(crate) async fn ping_lent(
        self: Arc<Self>,
        id: ConnectionId,
        mut conn: M::Connection,
    ) -> Result<(), CloseReason> {
        call(self.config.ping_timeout, || self.manager.ping(&mut conn))
            .await
            .map_err(|error| failed_ping(&self, id, error))
    }
}

/// A connection of which a pool over a [`Multiplexer`](crate::Multiplexer) lends shares.
/// Dereferences to it, and closes it when dropped: keep it until the last share has ended, for
/// example in an `Arc` that the owner of each share has too.
#[must_use = "a member is closed when it is dropped"]
pub struct Member<M: Manager> {
    shared: Arc<Shared<M>>,
    lease: Lease<M::Connection>,
    reason: OnceLock<CloseReason>,
}

impl<M: Manager> Member<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, lease: Lease<M::Connection>) -> Self {
        Self { shared, lease, reason: OnceLock::new() }
    }

    /// Returns the number of the connection.
    pub fn id(&self) -> ConnectionId {
        self.meta().id
    }

    /// Returns why the member should get no new borrowers: [`CloseReason::Recycled`] if it is as
    /// old as `pool_recycle`, [`CloseReason::Invalidated`] if it is older than the last
    /// `invalidate_all`, failover or end of the runtime. `None` if it is fit, which is seen without
    /// a lock.
    pub fn unfit(&self) -> Option<CloseReason> {
        let (meta, now) = (self.meta(), self.shared.loan_time());
        if self.shared.is_young(meta, now) {
            return None;
        }
        self.shared.read(|ledger| ledger.unfit(meta, now))
    }

    /// Notes with which reason the connection will be closed. The first one counts. Default: that
    /// of [`unfit`](Self::unfit), else [`CloseReason::Discarded`].
    pub fn dismiss(&self, reason: CloseReason) {
        let _ = self.reason.set(reason);
    }

    pub(crate) fn meta(&self) -> &LeaseMeta {
        self.lease.meta()
    }
}

impl<M: Manager> Deref for Member<M> {
    type Target = M::Connection;
    fn deref(&self) -> &M::Connection {
        &self.lease
    }
}

impl<M: Manager> Drop for Member<M> {
    fn drop(&mut self) {
        let reason = self.reason.get().copied().or_else(|| self.unfit());
        self.lease.end(reason.unwrap_or(CloseReason::Discarded));
    }
}

opaque_debug!([M: Manager] Member<M>, "Member", |it| { id: it.id() });
