//! `SharedPool`: a few multiplexed connections, handed out in turn to any number of borrowers.
//!
//! Each member is a lease of a `QueuePool` that is held for as long as the member serves; so connecting, backoff, hooks,
//! the cap and closing are that pool's. A borrower gets a clone of a member's connection and keeps the member alive.

use crate::builder::{Buildable, Builder, Parts};
use crate::call::{call, calmly};
use crate::error::{Phase, PoolError, TimedOut};
use crate::event::{CloseReason, Event};
use crate::examine::failed_ping;
use crate::info::{ConnectionId, ConnectionInfo};
use crate::lease::{Held, Home, Lease, Tag};
use crate::ledger::bump;
use crate::manager::Manager;
use crate::members::{Loan, Member, Members};
use crate::pool::{CLOSE_LIMIT, Pool, Request};
use crate::queue_pool::{Invalidate, QueuePool};
use crate::rt::{self, Bell};
use crate::status::{CloseReport, Holder, Status, Totals};
use crate::sync::Mutex;
use crate::time::Time;
use async_trait::async_trait;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A pool of multiplexed connections: `pool_size` of them, cloned for every borrower and handed out in turn.
///
/// Nobody waits once one connection is open; the others are opened behind the first borrowers' backs. A member that is
/// as old as `pool_recycle`, fails its ping (asked in the background when the last answer is older than
/// `pre_ping_idle`) or is discarded by a borrower is replaced; the old one closes when its last borrower is gone.
/// `max_overflow` is the room for that. The `on_checkout` and `on_checkin` hooks are called for a member when it begins
/// to serve, not for every loan.
///
/// Cheap to clone: all clones are one pool.
pub struct SharedPool<M: Manager>
where
    M::Connection: Clone + Sync,
{
    core: Arc<Core<M>>,
}

struct Core<M: Manager> {
    /// Opens, counts and closes the members.
    pool: QueuePool<M>,
    /// No user code runs while it is locked.
    members: Mutex<Members<M::Connection>>,
    /// Rung whenever a member has come, or could not be had.
    bell: Bell,
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
    /// A [`PoolError`]: no connection could be opened in time or at all, the pool is closed, or there is no runtime.
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
        let old = self.core.members.lock().dismiss_all(CloseReason::Invalidated);
        drop(old);
        self.core.pool.invalidate_all(how);
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
    let shared = core.pool.shared();
    let since = shared.now();
    let limit = request.limit.unwrap_or(shared.config.pool_timeout);
    let journey = Journey { core: &core, done: false };
    bump(&mut core.members.lock().totals.acquires);
    if !shared.ensure_keeper() {
        return journey.end(Err(PoolError::NoRuntime));
    }
    let wait = async {
        loop {
            let mut listener = core.bell.listen();
            if let Some(lease) = take(&core, request, since)? {
                return Ok(lease);
            }
            let failed = !listener.hear().await;
            let failure = core.members.lock().failure.clone();
            match failure {
                // Whoever was opening began before us; its deadline is not ours.
                Some(error) if !error.is_timeout() => return Err(error),
                None if failed => return Err(PoolError::Closed),
                _ => {}
            }
        }
    };
    let outcome = rt::until(rt::sleep(limit), wait).await;
    journey.end(outcome.unwrap_or_else(|| Err(core.timed_out(limit))))
}

/// Counts how an acquire ends; one that is dropped half way was cancelled.
struct Journey<'a, M: Manager> {
    core: &'a Core<M>,
    done: bool,
}

impl<M: Manager> Journey<'_, M> {
    fn end<T>(mut self, outcome: Result<T, PoolError>) -> Result<T, PoolError> {
        self.done = true;
        let totals = &mut self.core.members.lock().totals;
        bump(match &outcome {
            Ok(_) => &mut totals.ok,
            Err(error) if error.is_timeout() => &mut totals.timed_out,
            Err(_) => &mut totals.failed,
        });
        outcome
    }
}

impl<M: Manager> Drop for Journey<'_, M> {
    fn drop(&mut self) {
        if !self.done {
            bump(&mut self.core.members.lock().totals.cancelled);
        }
    }
}

/// A clone of the next member's connection, if there is a member. Has more opened and old ones checked on the way.
fn take<M: Manager>(
    core: &Arc<Core<M>>,
    request: Request,
    since: Time,
) -> Result<Option<Lease<M::Connection>>, PoolError>
where
    M::Connection: Clone + Sync,
{
    let shared = core.pool.shared();
    let now = shared.now();
    let wanted = shared.config.pool_size as usize;
    let (picked, opens, old) = {
        let mut members = core.members.lock();
        if members.closed {
            return Err(PoolError::Closed);
        }
        let old = members.retire_old(now);
        let opens = !members.opening && members.serving.len() < wanted && shared.home().is_some();
        if opens {
            members.opening = true;
            members.failure = None;
        }
        let picked = members.pick().map(|member| {
            let loan = members.lend(Loan { tag: member.tag, location: request.holder, since: now });
            (member, loan)
        });
        (picked, opens, old)
    };
    // Those that are too old go once the lock is released.
    drop(old);
    if let (true, Some(home)) = (opens, shared.home()) {
        rt::spawn(&home, open(Opening(Arc::clone(core))));
    }
    let Some((member, loan)) = picked else { return Ok(None) };
    Core::check_if_due(core, &member, now);
    let Some(conn) = clone_of(&member) else {
        core.members.lock().give_back(loan);
        return Ok(None);
    };
    let waited = now.since(since);
    shared.tell(|| Event::Acquired { id: member.tag.id, waited, holder: request.holder });
    let tag = Tag { slot: loan, ..member.tag };
    Ok(Some(Lease::lend(Held::new(conn, tag), Arc::new(Clones { core: Arc::clone(core), member }))))
}

/// A clone of a member's connection. `None` if cloning panics.
fn clone_of<C: Clone + Send + 'static>(member: &Member<C>) -> Option<C> {
    member.connection().and_then(|conn| calmly(|| conn.clone()).ok())
}

/// The same without waiting; counted only if it lends.
fn try_take<M: Manager>(core: &Arc<Core<M>>, request: Request) -> Option<Lease<M::Connection>>
where
    M::Connection: Clone + Sync,
{
    let now = core.pool.shared().now();
    let lease = take(core, request, now).ok().flatten()?;
    let mut members = core.members.lock();
    bump(&mut members.totals.acquires);
    bump(&mut members.totals.ok);
    Some(lease)
}

/// That one more member is being opened.
struct Opening<M: Manager>(Arc<Core<M>>);

impl<M: Manager> Drop for Opening<M> {
    fn drop(&mut self) {
        self.0.members.lock().opening = false;
        self.0.bell.ring();
    }
}

/// Opens one more member.
async fn open<M: Manager>(opening: Opening<M>) {
    let core = &opening.0;
    let outcome = core.pool.acquire().await;
    let now = core.pool.shared().now();
    let mut late = None;
    {
        let mut members = core.members.lock();
        match outcome {
            Ok(lease) => {
                members.failure = None;
                let member = Member::new(lease, now);
                if members.closed { late = Some(member) } else { members.serving.push(member) }
            }
            Err(error) => members.failure = Some(error),
        }
    }
    // A member that came after the close is dropped outside the lock.
    drop(late);
}

impl<M: Manager> Core<M> {
    /// Takes a member out of service.
    fn dismiss(&self, id: ConnectionId, why: CloseReason) {
        let dismissed = self.members.lock().dismiss(id, why);
        drop(dismissed);
    }

    /// Asks the server in the background whether the member is alive, if its last answer is older than
    /// `pre_ping_idle`.
    fn check_if_due(core: &Arc<Self>, member: &Arc<Member<M::Connection>>, now: Time)
    where
        M::Connection: Clone + Sync,
    {
        let shared = core.pool.shared();
        if !shared.config.pool_pre_ping || !member.check_due(shared.config.pre_ping_idle, now) {
            return;
        }
        let (Some(home), Some(mut conn)) = (shared.home(), clone_of(member)) else { return };
        let (core, tag) = (Arc::clone(core), member.tag);
        rt::spawn(&home, async move {
            let shared = core.pool.shared();
            if let Err(error) = call(shared.config.ping_timeout, || shared.manager.ping(&mut conn)).await {
                let why = failed_ping(shared, tag, error);
                core.dismiss(tag.id, why);
            }
        });
    }

    fn holders(&self) -> Vec<Holder> {
        let now = self.pool.shared().now();
        self.members.lock().holders(now)
    }

    fn status(&self) -> Status {
        let mut status = self.pool.status();
        let own = self.members.lock().totals;
        let Totals { created, closed, detached, connect_failed, peak, .. } = status.totals;
        status.totals = Totals { created, closed, detached, connect_failed, peak, ..own };
        status
    }

    fn timed_out(&self, limit: Duration) -> PoolError {
        PoolError::TimedOut(Box::new(TimedOut {
            kind: "SharedPool",
            phase: Phase::Connect,
            limit,
            status: self.pool.status(),
            holders: Vec::new(),
            last_error: self.pool.shared().ledger.lock().last_error(),
            nested: false,
            home_stalled: None,
        }))
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
            let held = shared.now().since(loan.since);
            shared.tell(|| Event::Returned { id: tag.id, held });
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
    fn assemble(parts: Parts<M>) -> Self {
        let pool = QueuePool::assemble(parts);
        Self { core: Arc::new(Core { pool, members: Mutex::new(Members::new()), bell: Bell::new() }) }
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
