//! `SharedPool`: a few multiplexed connections, handed out in turn to any number of borrowers.
//!
//! Each member is a lease of a `QueuePool` that is held for as long as the member serves; so connecting, backoff, hooks,
//! the cap and closing are that pool's. A borrower gets a clone of a member's connection and keeps the member alive.

use crate::builder::{Buildable, Builder, Parts};
use crate::diagnosis::timed_out;
use crate::error::PoolError;
use crate::event::{CloseReason, Event, share};
use crate::info::ConnectionInfo;
use crate::lease::{Held, Home, Lease, Tag};
use crate::ledger::bump;
use crate::manager::Manager;
use crate::members::{Core, Count, Member, Members, Pick, clone_of, pick};
use crate::pool::{CLOSE_LIMIT, Pool, Request};
use crate::queue_pool::{Invalidate, QueuePool};
use crate::rt::{self, Bell, Timer};
use crate::slots::Caller;
use crate::status::{CloseReport, Holder, Status, Totals};
use crate::sync::Mutex;
use crate::time::Time;
use async_trait::async_trait;
use std::fmt;
use std::future::poll_fn;
use std::panic::Location;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

/// How many connections may panic while they are cloned for one caller.
const PANICS_MAX: u32 = 3;

/// How many of the oldest holders a timeout names.
const HOLDERS_TOLD: usize = 3;

/// A pool of multiplexed connections: `pool_size` of them, cloned for every borrower and handed out in turn.
///
/// Nobody waits once one connection is open; the others are opened behind the first borrowers' backs. A member that is
/// as old as `pool_recycle`, fails its ping (asked in the background when the last answer is older than
/// `pre_ping_idle`) or is discarded by a borrower is replaced; the old one closes when its last borrower is gone.
/// `max_overflow` is the room for that. The `on_checkout` and `on_checkin` hooks are called for a member when it begins
/// to serve, not for every loan. [`Lease::detach`] takes only the borrower's clone; the member serves on.
///
/// It does not obey `leak_after` and `min_idle` today. Observers are told of every borrower's loan, and of each member's
/// own too: one more `Acquired` (or `AcquireFailed`) when the pool itself takes the connection, with a line of this
/// crate as the holder, and one more `Returned` when the member goes. `Waiting` is told for the members only. The totals
/// count the borrowers alone.
///
/// Cheap to clone: all clones are one pool.
pub struct SharedPool<M: Manager>
where
    M::Connection: Clone + Sync,
{
    core: Arc<Core<M>>,
}

/// A handle that does not keep a [`SharedPool`] alive.
pub struct WeakSharedPool<M: Manager> {
    core: Weak<Core<M>>,
}

impl<M: Manager> SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    /// Starts to build a pool over this manager.
    pub fn builder(manager: M) -> Builder<Self> {
        Builder::new(manager)
    }

    /// Lends a clone of a connection. Waits only while none is open.
    ///
    /// # Errors
    ///
    /// A [`PoolError`]: no connection could be opened in time or at all, `max_waiters` are waiting, the pool is closed,
    /// or there is no runtime. If one connection after the other panics while it is cloned, [`PoolError::Connect`] says
    /// so.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point; a connection being opened serves the next borrower.
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Lease<M::Connection>, PoolError>> + Send + 'static + use<M> {
        acquire(Arc::clone(&self.core), Request::here())
    }

    /// Lends a clone of a connection if one is open.
    #[track_caller]
    pub fn try_acquire(&self) -> Option<Lease<M::Connection>> {
        try_take(&self.core, Request::here())
    }

    /// The name of the pool.
    pub fn name(&self) -> &str {
        self.core.pool.name()
    }

    /// A handle that does not keep the pool alive.
    pub fn downgrade(&self) -> WeakSharedPool<M> {
        WeakSharedPool { core: Arc::downgrade(&self.core) }
    }

    /// How the pool is doing. A member counts as in use; the totals of acquires are those of the borrowers.
    pub fn status(&self) -> Status {
        self.core.status()
    }

    /// Who has a clone, and for how long: the oldest first.
    pub fn holders(&self) -> Vec<Holder> {
        self.core.holders()
    }

    /// No connection opened so far is lent again; each closes when its last borrower is gone.
    pub fn invalidate_all(&self, how: Invalidate) {
        // The new generation first: it also outdates the member that is just being opened, and a hard end needs it.
        self.core.pool.invalidate_all(how);
        let old = self.core.retire_unfit(&mut self.core.members.lock(), self.core.pool.shared().now());
        drop(old);
    }

    /// Closes the pool and waits up to [`CLOSE_LIMIT`] (30 s) for what is lent.
    ///
    /// # Cancel safety
    ///
    /// The pool stays closed if the future is dropped; only the report is lost.
    pub async fn close(&self) -> CloseReport {
        self.core.close(CLOSE_LIMIT).await
    }
}

/// Waits for a member within the request's limit.
async fn acquire<M: Manager>(core: Arc<Core<M>>, request: Request) -> Result<Lease<M::Connection>, PoolError>
where
    M::Connection: Clone + Sync,
{
    let since = core.pool.shared().now();
    let journey = Journey::begin(&core, request, since);
    let outcome = serve(&core, request, since).await;
    journey.end(outcome)
}

/// The loop of an acquire: a clone if there is a member, else wait until something has become of an opening.
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
    let (mut waiting, mut panics) = (None, 0);
    loop {
        // It listens before it looks, so that it misses nothing in between.
        let mut listener = core.bell.listen();
        match take(core, request, Some(since), &mut panics)? {
            Taken::Lent(lease) => return Ok(lease),
            Taken::Homeless if shared.ensure_keeper() => continue,
            Taken::Homeless => return Err(PoolError::NoRuntime),
            Taken::Nothing => {}
        }
        if shared.now() >= deadline {
            return Err(core.timed_out(request, limit));
        }
        if waiting.is_none() {
            waiting = Some(Waiting::join(core, since)?);
        }
        // A new one each time: the runtime of the last one may have ended.
        let Some(timer) = shared.clock.timer(deadline, || shared.home()) else { return Err(PoolError::NoRuntime) };
        rt::until(rung(timer), listener.hear()).await;
        let failure = core.members.lock().failure.clone();
        // Whoever was opening began before us; its deadline is not ours.
        if let Some(error) = failure.filter(|error| !error.is_timeout()) {
            return Err(error);
        }
    }
}

/// Waits until the timer has rung, or its runtime has ended: then it is time to look again as well.
async fn rung(mut timer: Timer) {
    poll_fn(|cx| if timer.rings(cx) == Some(false) { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// That somebody waits.
struct Waiting<'a, M: Manager> {
    core: &'a Core<M>,
    ticket: u64,
}

impl<'a, M: Manager> Waiting<'a, M> {
    fn join(core: &'a Core<M>, since: Time) -> Result<Self, PoolError> {
        let ticket = core.members.lock().join(since, core.pool.shared().config.max_waiters)?;
        Ok(Self { core, ticket })
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
    holder: &'static Location<'static>,
    since: Time,
    done: bool,
}

impl<'a, M: Manager> Journey<'a, M> {
    fn begin(core: &'a Core<M>, request: Request, since: Time) -> Self {
        bump(&mut core.members.lock().totals.acquires);
        Self { core, holder: request.holder, since, done: false }
    }

    /// That it lent something was told when the clone was made.
    fn end<T>(mut self, outcome: Result<T, PoolError>) -> Result<T, PoolError> {
        self.done = true;
        {
            let totals = &mut self.core.members.lock().totals;
            bump(match &outcome {
                Ok(_) => &mut totals.ok,
                Err(error) if error.is_timeout() => &mut totals.timed_out,
                Err(_) => &mut totals.failed,
            });
        }
        if let Err(error) = &outcome {
            let (why, waited, holder) = (error.kind(), self.waited(), self.holder);
            self.core.pool.shared().tell(|| Event::AcquireFailed { why, waited, holder });
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
            let (waited, holder) = (self.waited(), self.holder);
            self.core.pool.shared().tell(|| Event::AcquireCancelled { waited, holder });
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

/// A clone of the next member's connection, if there is a member. Has more opened and old ones checked on the way. Without
/// a beginning there was no wait, and it is counted only if it lends.
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
    let count = if since.is_some() { Count::Loan } else { Count::WithAcquire };
    loop {
        let now = shared.glance();
        let Pick { member, opening } = pick(core, request, count, now)?;
        let Some((member, loan)) = member else {
            return Ok(if opening { Taken::Nothing } else { Taken::Homeless });
        };
        match clone_of(&member) {
            Ok(conn) => {
                Core::check_if_due(core, &member, now);
                shared.tell(|| {
                    let waited = since.map_or(Duration::ZERO, |since| shared.now().since(since));
                    Event::Acquired { id: member.tag.id, waited, holder: request.holder }
                });
                let tag = Tag { slot: loan, ..member.tag };
                let home = Clones { core: Arc::clone(core), member };
                return Ok(Taken::Lent(Lease::lend(Held::new(conn, tag), Arc::new(home))));
            }
            Err(message) => {
                core.members.lock().take_back(loan, count);
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
fn try_take<M: Manager>(core: &Arc<Core<M>>, request: Request) -> Option<Lease<M::Connection>>
where
    M::Connection: Clone + Sync,
{
    match take(core, request, None, &mut 0) {
        Ok(Taken::Lent(lease)) => Some(lease),
        _ => None,
    }
}

impl<M: Manager> Core<M> {
    fn holders(&self) -> Vec<Holder> {
        let now = self.pool.shared().now();
        self.members.lock().holders(now)
    }

    fn status(&self) -> Status {
        let mut status = self.pool.status();
        let now = self.pool.shared().now();
        let members = self.members.lock();
        let Totals { created, closed, detached, connect_failed, peak, .. } = status.totals;
        status.totals = Totals { created, closed, detached, connect_failed, peak, ..members.totals };
        status.waiting = members.waiting();
        status.oldest_waiter = members.oldest_waiter().map(|since| now.since(since));
        status
    }

    /// The pool of the members knows what it is waiting for; who waits for it and who has a clone, we do.
    fn timed_out(&self, request: Request, limit: Duration) -> PoolError {
        let shared = self.pool.shared();
        let caller = Caller { location: request.holder, task: None };
        let mut error = timed_out(shared, &shared.ledger.lock(), caller, limit, None, shared.now());
        if let PoolError::TimedOut(told) = &mut error {
            told.kind = "SharedPool";
            told.status = self.status();
            told.holders = self.holders();
            told.holders.truncate(HOLDERS_TOLD);
        }
        error
    }

    /// Ends the members, and waits for the borrowers and for the farewells.
    async fn close(&self, limit: Duration) -> CloseReport {
        let serving = {
            let mut members = self.members.lock();
            members.closed = true;
            members.dismiss_all(CloseReason::PoolClosed)
        };
        drop(serving);
        self.bell.ring();
        let mut report = self.pool.close_within(limit).await;
        report.holders = self.holders();
        report
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
    fn back(&self, tag: &Tag) {
        let shared = self.core.pool.shared();
        let loan = self.core.members.lock().give_back(tag.slot);
        if let Some(loan) = loan {
            shared.tell(|| Event::Returned { id: tag.id, held: shared.now().since(loan.since) });
        }
    }
}

impl<M: Manager> Home<M::Connection> for Clones<M>
where
    M::Connection: Clone + Sync,
{
    fn returned(&self, held: Held<M::Connection>) {
        self.back(&held.inner.tag);
    }

    fn discarded(&self, held: Held<M::Connection>, reason: CloseReason) {
        self.back(&held.inner.tag);
        self.core.dismiss(held.inner.tag.id, reason);
    }

    /// The clone is the borrower's; the member serves on.
    fn detached(&self, tag: &Tag) {
        self.back(tag);
    }

    fn info(&self, tag: &Tag) -> ConnectionInfo {
        self.core.pool.shared().describe(&Tag { slot: self.member.tag.slot, ..*tag })
    }
}

impl<M: Manager> Buildable for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    type Manager = M;
    fn assemble(mut parts: Parts<M>) -> Self {
        // Members are held for as long as they serve, which is no leak; and idle ones would serve nobody.
        (parts.config.leak_after, parts.config.min_idle) = (None, None);
        let members = Mutex::new(Members::new(parts.loans_in_turn));
        let pool = QueuePool::assemble(parts);
        Self { core: Arc::new(Core { pool, members, bell: Bell::new() }) }
    }
}

impl<M: Manager> Builder<SharedPool<M>>
where
    M::Connection: Clone + Sync,
{
    /// How many borrowers in a row get the same connection, before it is the turn of the next. Default 1, which spreads
    /// them. More of them suit a server that is no faster for having several connections: what is asked for together then
    /// travels together, in fewer and larger writes. 0 is taken for 1.
    pub fn loans_in_turn(self, loans: u32) -> Self {
        self.with_loans_in_turn(loans)
    }
}

impl<M: Manager> Clone for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core) }
    }
}

impl<M: Manager> WeakSharedPool<M>
where
    M::Connection: Clone + Sync,
{
    /// The pool, if somebody holds it still.
    pub fn upgrade(&self) -> Option<SharedPool<M>> {
        self.core.upgrade().map(|core| SharedPool { core })
    }
}

impl<M: Manager> Clone for WeakSharedPool<M> {
    fn clone(&self) -> Self {
        Self { core: Weak::clone(&self.core) }
    }
}

impl<M: Manager> fmt::Debug for WeakSharedPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakSharedPool").finish_non_exhaustive()
    }
}

impl<M: Manager> fmt::Debug for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPool").field("name", &self.core.pool.name()).field("status", &self.status()).finish()
    }
}

#[async_trait]
impl<M: Manager> Pool for SharedPool<M>
where
    M::Connection: Clone + Sync,
{
    type Connection = M::Connection;

    async fn acquire_with(&self, request: Request) -> Result<Lease<M::Connection>, PoolError> {
        acquire(Arc::clone(&self.core), request).await
    }

    fn try_acquire_with(&self, request: Request) -> Option<Lease<M::Connection>> {
        try_take(&self.core, request)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    async fn close_within(&self, limit: Duration) -> CloseReport {
        self.core.close(limit).await
    }
}
