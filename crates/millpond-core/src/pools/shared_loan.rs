//! The way out of a `SharedPool` and back: its acquire, step by step, and the home of each loan.

use crate::error::PoolError;
use crate::event::{CloseReason, Event, share};
use crate::info::ConnectionInfo;
use crate::lease::{Lease, LeaseOwner};
use crate::ledger::{LeaseMeta, PooledConnection, bump};
use crate::manager::Manager;
use crate::pools::members::{Core, Member, Pick, clone_of, pick};
use crate::request::Request;
use crate::rt::time::Time;
use crate::rt::{self, Timer};
use std::future::poll_fn;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

/// How many connections may panic while they are cloned for one caller.
const PANICS_MAX: u32 = 3;

/// What a newcomer gets while connecting fails.
pub(crate) enum Refusal {
    /// It has to ask again at this time.
    AskAgain(Time),
    Final(PoolError),
}

/// Waits for a member within the request's limit.
pub(crate) async fn acquire<M: Manager>(
    core: Arc<Core<M>>,
    request: Request,
) -> Result<Lease<M::Connection>, PoolError>
where
    M::Connection: Clone + Sync,
{
    poll_fn(rt::cooperate).await;
    let since = core.pool.shared().now();
    let journey = Journey::begin(&core, request, since);
    let outcome = serve(&core, request, since).await;
    journey.end(outcome)
}

/// The loop of an acquire: a clone if there is a member, else wait until something has become of an
/// opening.
async fn serve<M: Manager>(
    core: &Arc<Core<M>>,
    request: Request,
    since: Time,
) -> Result<Lease<M::Connection>, PoolError>
where
    M::Connection: Clone + Sync,
{
    let shared = core.pool.shared();
    let limit = request.limit.unwrap_or(shared.config.pool_timeout);
    let deadline = since.after(limit);
    let (mut waiting, mut panics, mut insists) = (None, 0, false);
    loop {
        // It listens before it looks, so that it misses nothing in between.
        let mut listener = core.bell.listen();
        match take(core, request, Some(since), &mut panics)? {
            Taken::Lent(lease) => return Ok(lease),
            Taken::Homeless if shared.ensure_maintenance() => continue,
            Taken::Homeless => return Err(PoolError::NoRuntime),
            Taken::Nothing => {}
        }
        if shared.now() >= deadline {
            return Err(core.timed_out(limit));
        }
        if waiting.is_none() {
            // As in any pool only newcomers fail fast: who waits already may do so until its
            // deadline.
            match core.refusal(insists) {
                None => {}
                Some(Refusal::Final(error)) => return Err(error),
                Some(Refusal::AskAgain(at)) => {
                    insists = true;
                    pause(core, at.min(deadline), listener.hear()).await;
                    continue;
                }
            }
            waiting = Some(Waiting::join(core, since)?);
        }
        // A new one each time: the runtime of the last one may have ended.
        let Some(timer) = shared.timer(deadline) else { return Err(PoolError::NoRuntime) };
        rt::until(rung(timer), listener.hear()).await;
        let failure = core.members.lock().failure.clone();
        // The attempt began before this call; its deadline is not ours. Any other failure is
        // permanent.
        if let Some(error) = failure.filter(|error| !error.is_timeout()) {
            return Err(error);
        }
    }
}

/// Lets other tasks run, and time pass, before a caller that was refused asks once more, unless
/// something happens before.
async fn pause<M: Manager>(
    core: &Core<M>,
    until: Time,
    something_happens: impl Future<Output = bool>,
) {
    let shared = core.pool.shared();
    let timer = if until > shared.now() { shared.timer(until) } else { None };
    match timer {
        Some(timer) => _ = rt::until(rung(timer), something_happens).await,
        None => rt::yield_now().await,
    }
}

/// Waits until the timer has rung, or its runtime has ended: then it is time to look again as well.
async fn rung(mut timer: Timer) {
    poll_fn(|cx| if timer.rings(cx) == Some(false) { Poll::Pending } else { Poll::Ready(()) })
        .await;
}

/// That somebody waits.
struct Waiting<'a, M: Manager> {
    core: &'a Core<M>,
    ticket: u64,
}

impl<'a, M: Manager> Waiting<'a, M> {
    fn join(core: &'a Core<M>, since: Time) -> Result<Self, PoolError> {
        let shared = core.pool.shared();
        let (ticket, waiting) = core.members.lock().join(since, shared.config.max_waiters)?;
        let this = Self { core, ticket };
        shared.tell_loan(|| Event::Waiting { waiting: waiting as usize });
        Ok(this)
    }
}

impl<M: Manager> Drop for Waiting<'_, M> {
    fn drop(&mut self) {
        self.core.members.lock().leave(self.ticket);
    }
}

/// Counts and tells how an acquire ends; one that is dropped half way was cancelled.
struct Journey<'a, M: Manager> {
    core: &'a Core<M>,
    location: &'static Location<'static>,
    since: Time,
    done: bool,
}

impl<'a, M: Manager> Journey<'a, M> {
    fn begin(core: &'a Core<M>, request: Request, since: Time) -> Self {
        bump(&mut core.members.lock().totals.acquires);
        Self { core, location: request.location, since, done: false }
    }

    /// The loan was reported when the clone was made.
    fn end<T>(mut self, outcome: Result<T, PoolError>) -> Result<T, PoolError> {
        self.done = true;
        {
            let totals = &mut self.core.members.lock().totals;
            bump(match &outcome {
                Ok(_) => &mut totals.succeeded,
                Err(error) if error.is_timeout() => &mut totals.timed_out,
                Err(_) => &mut totals.failed,
            });
        }
        if let Err(error) = &outcome {
            let (why, waited, location) = (error.kind(), self.waited(), self.location);
            self.core.pool.shared().tell_loan(|| Event::AcquireFailed { why, waited, location });
        }
        outcome
    }

    fn waited(&self) -> Duration {
        self.core.pool.shared().now().since(self.since)
    }
}

impl<M: Manager> Drop for Journey<'_, M> {
    fn drop(&mut self) {
        if !self.done {
            bump(&mut self.core.members.lock().totals.cancelled);
            let (waited, location) = (self.waited(), self.location);
            self.core.pool.shared().tell_loan(|| Event::AcquireCancelled { waited, location });
        }
    }
}

/// What came of asking for a clone.
enum Taken<C: Send + 'static> {
    Lent(Lease<C>),
    /// No member serves; one is being opened.
    Nothing,
    /// No member serves, and there is no runtime to open one on.
    Homeless,
}

/// A clone of the next member's connection, if there is a member. Has more opened and old ones
/// checked on the way. Without a beginning there was no wait, and it is counted only if it lends.
fn take<M: Manager>(
    core: &Arc<Core<M>>,
    request: Request,
    since: Option<Time>,
    panics: &mut u32,
) -> Result<Taken<M::Connection>, PoolError>
where
    M::Connection: Clone + Sync,
{
    let shared = core.pool.shared();
    loop {
        let now = shared.glance();
        let Pick { member, opening } = pick(core, request, since, now)?;
        let Some((member, loan)) = member else {
            return Ok(if opening { Taken::Nothing } else { Taken::Homeless });
        };
        match clone_of(&member) {
            Ok(conn) => {
                if since.is_none() {
                    core.succeeded_at_once.fetch_add(1, Ordering::Relaxed);
                }
                Core::check_if_due(core, &member, now);
                shared.tell_loan(|| {
                    let waited = since.map_or(Duration::ZERO, |since| shared.now().since(since));
                    Event::Acquired { id: member.tag.id, waited, location: request.location }
                });
                let tag = LeaseMeta { slot: loan, ..member.tag };
                let home = Clones { core: Arc::clone(core), member };
                return Ok(Taken::Lent(Lease::lend(
                    PooledConnection::new(conn, tag),
                    Arc::new(home),
                )));
            }
            Err(message) => {
                core.members.lock().give_back(&member, loan);
                core.broken(member.tag.id, message.clone());
                *panics = panics.saturating_add(1);
                if *panics >= PANICS_MAX {
                    let source = share(format!("cloning a connection panicked: {message}").into());
                    return Err(PoolError::Connect { attempts: *panics, source });
                }
            }
        }
    }
}

/// The same without waiting; counted only if it lends.
pub(crate) fn try_take<M: Manager>(
    core: &Arc<Core<M>>,
    request: Request,
) -> Option<Lease<M::Connection>>
where
    M::Connection: Clone + Sync,
{
    match take(core, request, None, &mut 0) {
        Ok(Taken::Lent(lease)) => Some(lease),
        _ => None,
    }
}

/// The home of one loan: keeps its member alive.
struct Clones<M: Manager> {
    core: Arc<Core<M>>,
    member: Arc<Member<M::Connection>>,
}

impl<M: Manager> Clones<M>
where
    M::Connection: Clone + Sync,
{
    fn back(&self, tag: &LeaseMeta) {
        let shared = self.core.pool.shared();
        let ended = self.core.members.lock().end_loan(&self.member, tag.slot, || shared.glance());
        drop(ended.gone);
        if let Some(loan) = ended.loan {
            let is_overdue = |limit: Duration| shared.glance().since(loan.since) >= limit;
            if self.core.limits.max_lease.is_some_and(is_overdue) {
                self.core.dismiss(tag.id, CloseReason::Overdue);
            }
            shared
                .tell_loan(|| Event::Returned { id: tag.id, held: shared.now().since(loan.since) });
        }
    }
}

impl<M: Manager> LeaseOwner<M::Connection> for Clones<M>
where
    M::Connection: Clone + Sync,
{
    fn returned(&self, held: PooledConnection<M::Connection>) {
        self.back(&held.inner.tag);
    }

    fn discarded(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        self.back(&held.inner.tag);
        self.core.dismiss(held.inner.tag.id, reason);
    }

    /// The clone is the borrower's; the member serves on.
    fn detached(&self, tag: &LeaseMeta) {
        self.back(tag);
    }

    fn info(&self, tag: &LeaseMeta) -> ConnectionInfo {
        self.core.pool.shared().describe(&LeaseMeta { slot: self.member.tag.slot, ..*tag })
    }
}
