//! What the crate `millpond-shared` needs of a pool besides its public interface.

use crate::engine::Shared;
use crate::ledger::{Caller, Ledger, LentShare};
use crate::rt::{Handle, Time, Timer};
use crate::{
    CloseReason, ConnectionId, ConnectionInfo, Lease, LeaseMeta, LeaseOwner, Manager, PoolError,
    PoolParts, PooledConnection, QueuePool, Request, WaitOutcome,
};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The shares of a pool whose leases are *members*: connections that are lent to several borrowers
/// at once. The pool's ledger counts, measures, reports and names these borrowers, and no holder of
/// a member. `millpond-shared` makes its `Multiplexer` of this; a custom pool uses that.
///
/// It does not keep the pool open.
pub struct Shares<M: Manager> {
    shared: Arc<Shared<M>>,
}

impl<M: Manager> Shares<M> {
    /// A pool of members, and its shares. `kind` is what it is called in errors.
    pub fn of_new_pool(parts: PoolParts<M>, kind: &'static str) -> (QueuePool<M>, Self) {
        let pool = QueuePool::multiplexed(parts, kind);
        let shared = Arc::clone(pool.shared());
        (pool, Self { shared })
    }

    /// The runtime on which the pool connects.
    pub fn runtime(&self) -> Option<Handle> {
        self.shared.runtime()
    }

    /// The time of the pool's clock.
    pub fn now(&self) -> Time {
        self.shared.now()
    }

    /// A timer on the caller's runtime, else on the pool's.
    pub fn timer(&self, deadline: Time) -> Option<Timer> {
        self.shared.timer(deadline)
    }

    /// Counts an acquire that begins; returns its number and its time.
    pub fn begin_acquire(&self) -> (u64, Time) {
        self.shared.change(|ledger, now| (ledger.count_acquire(), now))
    }

    /// Makes sure that there is a maintenance task, without which nothing could be waited for.
    /// Returns whether there was one before.
    ///
    /// # Errors
    ///
    /// [`PoolError::Closed`] or [`PoolError::NoRuntime`].
    pub fn ensure_maintenance(&self) -> Result<bool, PoolError> {
        let shared = &self.shared;
        if shared.read(Ledger::is_closed) {
            return Err(PoolError::Closed);
        }
        let was_there = shared.read(Ledger::has_task);
        if was_there || shared.ensure_maintenance() {
            Ok(was_there)
        } else {
            Err(PoolError::NoRuntime)
        }
    }

    /// The acquire waits for a member from now on, or is refused.
    pub fn wait(&self, number: u64, since: Time, refused_once: bool) -> WaitOutcome {
        self.shared.change(|ledger, now| ledger.await_share(number, since, refused_once, now))
    }

    /// Ends a wait.
    pub fn stop_waiting(&self, number: u64, since: Time) {
        self.shared.change(|ledger, _| ledger.stop_waiting_for_share(number, since));
    }

    /// The error of an acquire whose limit has passed.
    pub fn timed_out(&self, limit: Duration) -> PoolError {
        let (shared, now) = (&self.shared, self.now());
        shared.read(|ledger| ledger.timed_out(None, limit, None, now))
    }

    /// Ends an acquire, which began at `since` or did not wait, with a share of `member`. Returns
    /// its lease, and whether a ping of the member is due, which counts as begun.
    pub fn lend<S: Send + 'static>(
        &self,
        request: Request,
        since: Option<Time>,
        member: &Lease<M::Connection>,
        share: S,
        owner: Arc<dyn LeaseOwner<S>>,
    ) -> (Lease<S>, bool) {
        let (meta, now) = (member.meta(), self.shared.loan_time());
        let caller = Caller { location: request.location, label: request.label, task: None };
        let LentShare { slot, ping_due } =
            self.shared.change_at(now, |ledger, now| ledger.lend_share(meta, caller, since, now));
        let held = PooledConnection::new(share, LeaseMeta { slot, ..*meta });
        (Lease::lend(held, owner), ping_due)
    }

    /// Takes a share back. Returns whether it was held for longer than `max_lease`.
    pub fn take_back(&self, share: &LeaseMeta) -> bool {
        let is_timed = self.shared.exact || self.shared.config.max_lease.is_some();
        let now = if is_timed { self.shared.loan_time() } else { Time::ZERO };
        self.shared.change_at(now, |ledger, now| ledger.end_share(share, now))
    }

    /// Ends an acquire with an error; without one it was dropped.
    pub fn not_lent(&self, request: Request, since: Time, error: Option<&PoolError>) {
        self.shared
            .change(|ledger, now| ledger.share_not_lent(request.location, since, error, now));
    }

    /// Information about the connection of a share.
    pub fn info(&self, share: &LeaseMeta) -> ConnectionInfo {
        self.shared.describe(share)
    }

    /// Pings a member over a handle to its connection; a failure is reported and acted upon.
    pub fn ping(
        &self,
        member: ConnectionId,
        conn: M::Connection,
    ) -> impl Future<Output = Result<(), CloseReason>> + Send + 'static + use<M> {
        Arc::clone(&self.shared).ping_lent(member, conn)
    }

    /// Why a member should get no new borrowers, if so.
    pub fn unfit(&self, member: &Lease<M::Connection>) -> Option<CloseReason> {
        let (meta, now) = (member.meta(), self.shared.loan_time());
        if self.shared.is_young(meta, now) {
            return None;
        }
        self.shared.read(|ledger| ledger.unfit(meta, now))
    }

    /// Returns a member to be closed; the lease is empty afterwards.
    pub fn close(&self, member: &mut Lease<M::Connection>, reason: CloseReason) {
        member.end(reason);
    }

    /// Reports a panic of user code.
    pub fn report_panic(&self, callback: &'static str, message: String) {
        self.shared.report_panic(callback, message);
    }

    /// Closes the pool, without waiting for what is lent.
    pub fn begin_close(&self) {
        self.shared.begin_close();
    }
}

impl<M: Manager> Clone for Shares<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

opaque_debug!([M: Manager] Shares<M>, "Shares", |it| { shared: it.shared });
