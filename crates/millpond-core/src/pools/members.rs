//! The members of a `SharedPool`: which connections serve, whose turn it is, who has a clone, and
//! who waits for one.
//!
//! How they come and go as well: one is opened at a time, behind the borrowers' backs; one that is
//! unfit, fails its ping or cannot be cloned goes out of service.
//!
//! A member that is only too old, and still lent, is ageing: it gets no new borrowers while a young
//! member serves, and it is closed when its last loan ends. If no young member serves, one of the
//! ageing ones stands in for them, so that a healthy connection is always shared.

use crate::engine::{ClonesOut, call, failed_ping};
use crate::error::PoolError;
use crate::event::CloseReason;
use crate::histogram::PoolHistograms;
use crate::info::ConnectionId;
use crate::lease::Lease;
use crate::ledger::LeaseMeta;
use crate::manager::Manager;
use crate::pools::loans::{Loan, Loans};
use crate::pools::queue::QueuePool;
use crate::request::Request;
use crate::rt::lock::{AtomicU64, Mutex};
use crate::rt::panics::{calmly, drop_calmly};
use crate::rt::time::Time;
use crate::rt::{self, Bell, Handle};
use crate::status::{Holder, Totals};
use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// One connection that serves. When the last who needs it is gone it is closed, never lent on.
pub(crate) struct Member<C: Send + 'static> {
    /// `None` only while it is dropped.
    lease: Option<Lease<C>>,
    pub(crate) tag: LeaseMeta,
    /// How many borrowers have a clone. Changed only under the members' lock.
    loans: AtomicU64,
    checked: Mutex<Time>,
    why: OnceLock<CloseReason>,
}

impl<C: Send + 'static> Member<C> {
    pub(crate) fn new(lease: Lease<C>, now: Time) -> Arc<Self> {
        let tag = lease.tag();
        let (loans, checked) = (AtomicU64::new(0), Mutex::new(now));
        Arc::new(Self { lease: Some(lease), tag, loans, checked, why: OnceLock::new() })
    }

    fn is_lent(&self) -> bool {
        self.loans.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn connection(&self) -> Option<&C> {
        self.lease.as_deref()
    }

    /// Records the close reason; the first one wins.
    pub(crate) fn dismiss(&self, why: CloseReason) {
        let _ = self.why.set(why);
    }

    /// Whether its last answer is older than that; if so a new one counts as asked for.
    pub(crate) fn check_due(&self, interval: Duration, now: Time) -> bool {
        let mut checked = self.checked.lock();
        let due = now.since(*checked) >= interval;
        if due {
            *checked = now;
        }
        due
    }
}

impl<C: Send + 'static> Drop for Member<C> {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            Lease::discard(lease, self.why.get().copied().unwrap_or(CloseReason::PoolClosed));
        }
    }
}

/// What the end of a loan leads to.
pub(crate) struct Ended<C: Send + 'static> {
    pub(crate) loan: Option<Loan>,
    /// The member, if it only waited for this.
    pub(crate) gone: Option<Arc<Member<C>>>,
}

/// All members. Guarded by the shared pool's lock: no user code runs in here, and what leaves is
/// dropped outside.
pub(crate) struct Members<C: Send + 'static> {
    pub(crate) serving: Vec<Arc<Member<C>>>,
    /// Those that are too old, and still lent.
    ageing: Vec<Arc<Member<C>>>,
    /// Which of the ageing members is lent while no young one serves.
    stand_in: Option<ConnectionId>,
    /// Whose turn it is, and how many loans are left of it.
    turn: usize,
    left: u32,
    /// How many loans a turn has.
    acquires_per_turn: u32,
    /// Whether somebody is opening one more.
    pub(crate) opening: bool,
    /// Why the last opening failed, unless one has succeeded since.
    pub(crate) failure: Option<PoolError>,
    pub(crate) loans: Loans,
    /// Since when each waiter has waited, in the order of arrival.
    waiters: BTreeMap<u64, Time>,
    last_ticket: u64,
    pub(crate) closed: bool,
    pub(crate) totals: Totals,
    /// How long waits and loans took, if an observer asked for it.
    times: Option<Arc<PoolHistograms>>,
}

impl<C: Send + 'static> Members<C> {
    pub(crate) fn new(acquires_per_turn: u32, times: Option<Arc<PoolHistograms>>) -> Self {
        Self {
            times,
            serving: Vec::new(),
            ageing: Vec::new(),
            stand_in: None,
            turn: 0,
            left: 0,
            acquires_per_turn,
            opening: false,
            failure: None,
            loans: Loans::default(),
            waiters: BTreeMap::new(),
            last_ticket: 0,
            closed: false,
            totals: Totals::default(),
        }
    }

    /// The next one in turn.
    fn pick(&mut self) -> Option<Arc<Member<C>>> {
        match self.left.checked_sub(1).filter(|_| self.turn < self.serving.len()) {
            Some(left) => self.left = left,
            None => {
                self.turn =
                    self.turn.checked_add(1).filter(|turn| *turn < self.serving.len()).unwrap_or(0);
                self.left = self.acquires_per_turn.saturating_sub(1);
            }
        }
        self.serving.get(self.turn).cloned()
    }

    /// The ageing member that is lent while no young one serves: the one with the oldest loan,
    /// since the others are sooner free to be replaced. It stays the same for as long as it is
    /// there.
    fn stand_in(&mut self) -> Option<Arc<Member<C>>> {
        let find = |id: ConnectionId| self.ageing.iter().find(|member| member.tag.id == id);
        if let Some(member) = self.stand_in.and_then(find) {
            return Some(Arc::clone(member));
        }
        let loans = self.loans.iter().filter(|loan| find(loan.id).is_some());
        let member = loans.min_by_key(|loan| loan.since).and_then(|loan| find(loan.id)).cloned();
        self.stand_in = member.as_ref().map(|member| member.tag.id);
        member
    }

    /// Takes the members out of service that are unfit. One that is only too old ages for as long
    /// as it is lent.
    pub(crate) fn retire(
        &mut self,
        unfit: impl Fn(&LeaseMeta) -> Option<CloseReason>,
    ) -> Vec<Arc<Member<C>>> {
        let goes = |member: &mut Arc<Member<C>>| match unfit(&member.tag) {
            Some(CloseReason::Recycled) if member.is_lent() => false,
            why => why.map(|why| member.dismiss(why)).is_some(),
        };
        let mut gone: Vec<_> = self.serving.extract_if(.., goes).collect();
        gone.extend(self.ageing.extract_if(.., goes));
        let ages = |member: &mut Arc<Member<C>>| unfit(&member.tag).is_some();
        self.ageing.extend(self.serving.extract_if(.., ages));
        gone
    }

    /// How many members are lent to nobody, of those that serve.
    pub(crate) fn unlent(&self) -> u32 {
        let unlent = self.serving.iter().filter(|member| !member.is_lent()).count();
        u32::try_from(unlent).unwrap_or(u32::MAX)
    }

    /// Takes one member out of service.
    pub(crate) fn dismiss(&mut self, id: ConnectionId, why: CloseReason) -> Vec<Arc<Member<C>>> {
        self.retire(|tag| (tag.id == id).then_some(why))
    }

    /// Takes all members out of service.
    pub(crate) fn dismiss_all(&mut self, why: CloseReason) -> Vec<Arc<Member<C>>> {
        self.retire(|_| Some(why))
    }

    /// Notes a loan of a member, and where. Its borrower came at `came`.
    fn lend(&mut self, member: &Member<C>, loan: Loan, came: Time) -> u32 {
        member.loans.fetch_add(1, Ordering::Relaxed);
        if let Some(times) = &self.times {
            times.wait.add(loan.since.nanos_since(came));
        }
        self.loans.begin(loan)
    }

    /// A loan ends, or nothing came of it since its clone panicked: what was noted of it.
    pub(crate) fn give_back(&mut self, member: &Member<C>, place: u32) -> Option<Loan> {
        let loan = self.loans.end(place)?;
        member.loans.fetch_sub(1, Ordering::Relaxed);
        Some(loan)
    }

    /// The same at a time, which is asked for if the loan is measured. An ageing member whose last
    /// loan it was goes out of service, and is to be dropped outside the lock.
    pub(crate) fn end_loan(
        &mut self,
        member: &Member<C>,
        place: u32,
        now: impl FnOnce() -> Time,
    ) -> Ended<C> {
        let loan = self.give_back(member, place);
        if let (Some(times), Some(loan)) = (&self.times, &loan) {
            times.hold.add(now().nanos_since(loan.since));
        }
        if self.ageing.is_empty() || member.is_lent() {
            return Ended { loan, gone: None };
        }
        let aged = self.ageing.iter().position(|ageing| ageing.tag.id == member.tag.id);
        let gone = aged.map(|aged| self.ageing.swap_remove(aged));
        gone.iter().for_each(|gone| gone.dismiss(CloseReason::Recycled));
        Ended { loan, gone }
    }

    /// One more waits, unless as many as `limit` allows do already: its ticket, and how many wait
    /// now.
    pub(crate) fn join(
        &mut self,
        since: Time,
        limit: Option<u32>,
    ) -> Result<(u64, u32), PoolError> {
        if let Some(limit) = limit.filter(|limit| self.waiting() >= *limit) {
            return Err(PoolError::TooManyWaiters { limit });
        }
        self.last_ticket = self.last_ticket.saturating_add(1);
        self.waiters.insert(self.last_ticket, since);
        Ok((self.last_ticket, self.waiting()))
    }

    /// Waits no more.
    pub(crate) fn leave(&mut self, ticket: u64) {
        self.waiters.remove(&ticket);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> u32 {
        u32::try_from(self.waiters.len()).unwrap_or(u32::MAX)
    }

    /// Since when the first of those who wait has waited.
    pub(crate) fn oldest_waiter(&self) -> Option<Time> {
        self.waiters.first_key_value().map(|(_, since)| *since)
    }
}

/// After how long the holder of a loan is reported, and after how long the connection is closed
/// when it comes back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LoanLimits {
    pub(crate) report_after: Option<Duration>,
    pub(crate) max_lease: Option<Duration>,
}

/// What the handles, the leases and the acquires of a shared pool have in common.
pub(crate) struct Core<M: Manager> {
    /// Opens, counts and closes the members.
    pub(crate) pool: QueuePool<M>,
    /// No user code runs while it is locked.
    pub(crate) members: Mutex<Members<M::Connection>>,
    /// What is too long for a loan: the pool of the members has no such limits, since members are
    /// held for long.
    pub(crate) limits: LoanLimits,
    /// How many loans came of an attempt that would not wait. Counted when the clone is made,
    /// without the lock.
    pub(crate) succeeded_at_once: AtomicU64,
    /// Rung whenever a member has come, could not be had, or was given up because the home runtime
    /// ended.
    pub(crate) bell: Bell,
}

impl<M: Manager> ClonesOut for Core<M>
where
    M::Connection: Sync,
{
    fn report_long(&self, now: Time) -> (Vec<Holder>, Time) {
        let Some(age) = self.limits.report_after else { return (Vec::new(), Time::NEVER) };
        let loans = &mut self.members.lock().loans;
        let holders =
            if now.elapsed() >= age { loans.report(now.before(age), now) } else { Vec::new() };
        (holders, loans.quiet_since().map_or(Time::NEVER, |since| since.after(age)))
    }
}

impl<M: Manager> Core<M> {
    /// Takes the members out of service that are too old, or of a generation that a failover, an
    /// `invalidate_all` or the end of their runtime outdated. They are to be dropped outside the
    /// lock.
    pub(crate) fn retire_unfit(
        &self,
        members: &mut Members<M::Connection>,
        now: Time,
    ) -> Vec<Arc<Member<M::Connection>>> {
        self.pool.shared().look(|ledger| members.retire(|tag| ledger.unfit(tag, now)))
    }

    /// Whether one more member is to be opened, and where. The failure is the last one's, to be
    /// dropped outside the lock.
    fn begin_opening(
        self: &Arc<Self>,
        members: &mut Members<M::Connection>,
    ) -> Option<(Handle, Opening<M>, Option<PoolError>)> {
        let shared = self.pool.shared();
        if members.opening || members.serving.len() >= shared.config.pool_size.max(1) as usize {
            return None;
        }
        let home = shared.home()?;
        members.opening = true;
        Some((home, Opening(Arc::downgrade(self)), members.failure.take()))
    }

    /// Puts a new member into service, or notes why there is none.
    fn opened(&self, outcome: Result<Lease<M::Connection>, PoolError>) {
        let now = self.pool.shared().now();
        let mut members = self.members.lock();
        let (member, failure) = match outcome {
            Ok(lease) => (Some(Member::new(lease, now)), None),
            Err(error) => (None, Some(error)),
        };
        let before = mem::replace(&mut members.failure, failure);
        members.serving.extend(member);
        // The pool may have been closed, or the new member outdated, since it was granted.
        let late = if members.closed {
            members.dismiss_all(CloseReason::PoolClosed)
        } else {
            self.retire_unfit(&mut members, now)
        };
        drop(members);
        drop(late);
        let _ = drop_calmly(before);
    }

    /// A member's connection panicked when it was cloned: it is no good to anybody.
    pub(crate) fn broken(&self, id: ConnectionId, message: String) {
        self.pool.shared().tell_panic("clone", message);
        self.dismiss(id, CloseReason::Panicked);
    }

    /// Takes a member out of service.
    pub(crate) fn dismiss(&self, id: ConnectionId, why: CloseReason) {
        let dismissed = self.members.lock().dismiss(id, why);
        drop(dismissed);
    }

    /// Asks the server in the background whether the member is alive, if its last answer is older
    /// than `pre_ping_idle`.
    pub(crate) fn check_if_due(core: &Arc<Self>, member: &Arc<Member<M::Connection>>, now: Time)
    where
        M::Connection: Clone + Sync,
    {
        let shared = core.pool.shared();
        if !shared.config.pool_pre_ping || !member.check_due(shared.config.pre_ping_idle, now) {
            return;
        }
        let Some(home) = shared.home() else { return };
        let tag = member.tag;
        let mut conn = match clone_of(member) {
            Ok(conn) => conn,
            Err(message) => return core.broken(tag.id, message),
        };
        // A ping that hangs must not keep a pool alive that nobody holds any more.
        let (core, shared) = (Arc::downgrade(core), Arc::clone(shared));
        rt::spawn(&home, async move {
            if let Err(error) =
                call(shared.config.ping_timeout, || shared.manager.ping(&mut conn)).await
            {
                let why = failed_ping(&shared, tag, error);
                if let Some(core) = core.upgrade() {
                    core.dismiss(tag.id, why);
                }
            }
        });
    }
}

/// What a look at the members came to.
pub(crate) struct Pick<C: Send + 'static> {
    /// The next member in turn, and the place of the loan.
    pub(crate) member: Option<(Arc<Member<C>>, u32)>,
    /// Whether one more is being opened.
    pub(crate) opening: bool,
}

/// Lends the next member in turn. Retires those that are unfit if this one is, and has one more
/// opened if there are too few. `came` is when the caller began to wait, if it has.
pub(crate) fn pick<M: Manager>(
    core: &Arc<Core<M>>,
    request: Request,
    came: Option<Time>,
    now: Time,
) -> Result<Pick<M::Connection>, PoolError>
where
    M::Connection: Clone + Sync,
{
    let (pick, opening, old, first_to_report) = {
        let mut members = core.members.lock();
        if members.closed {
            return Err(PoolError::Closed);
        }
        let mut old = Vec::new();
        let mut member = members.pick();
        // As a rule it is fit, which is seen without the ledger's lock.
        if !member.as_ref().is_some_and(|member| core.pool.shared().is_young(&member.tag, now)) {
            old = core.retire_unfit(&mut members, now);
            member = members.pick().or_else(|| members.stand_in());
        }
        let opening = core.begin_opening(&mut members);
        let first_to_report = member.is_some()
            && core.limits.report_after.is_some()
            && members.loans.expect_report(now);
        let member = member.map(|member| {
            let (id, location, label) = (member.tag.id, request.location, request.label);
            let loan = Loan { id, location, label, since: now, is_reported: false };
            let place = members.lend(&member, loan, came.unwrap_or(now));
            (member, place)
        });
        (Pick { member, opening: members.opening }, opening, old, first_to_report)
    };
    if let Some(age) = core.limits.report_after.filter(|_| first_to_report) {
        core.pool.shared().change_at(now, |ledger, now| ledger.expect_sweep(now.after(age), now));
    }
    // The old ones go once the lock is released, and so does the last failure: their destructors
    // are not ours.
    drop(old);
    if let Some((home, guard, failure)) = opening {
        let _ = drop_calmly(failure);
        rt::spawn(&home, open(guard));
    }
    Ok(pick)
}

/// That one more member is being opened. Does not keep the pool alive: nothing is opened for
/// nobody.
struct Opening<M: Manager>(Weak<Core<M>>);

impl<M: Manager> Drop for Opening<M> {
    fn drop(&mut self) {
        if let Some(core) = self.0.upgrade() {
            core.members.lock().opening = false;
            core.bell.ring();
        }
    }
}

/// Opens one more member.
async fn open<M: Manager>(opening: Opening<M>)
where
    M::Connection: Clone + Sync,
{
    // The acquire outlives the pool only to report that it is closed.
    let request = Request { patient: true, ..Request::here() };
    let Some(acquire) = opening.0.upgrade().map(|core| core.pool.acquire_with(request)) else {
        return;
    };
    let outcome = acquire.await;
    if let Some(core) = opening.0.upgrade() {
        core.opened(outcome);
    }
}

/// A clone of a member's connection, or what the panic said.
pub(crate) fn clone_of<C: Clone + Send + 'static>(member: &Member<C>) -> Result<C, String> {
    let conn = member.connection().ok_or_else(|| "the connection has gone".to_owned())?;
    calmly(|| conn.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::LeaseOwner;
    use crate::ledger::PooledConnection;

    struct Nowhere;

    impl LeaseOwner<u32> for Nowhere {
        fn returned(&self, _: PooledConnection<u32>) {}
    }

    fn drawn(acquires_per_turn: u32, loans: usize) -> Vec<u32> {
        let mut members = Members::new(acquires_per_turn, None);
        for number in 0..3 {
            members.serving.push(Member::new(Lease::new(number, Arc::new(Nowhere)), Time::ZERO));
        }
        (0..loans).map(|_| *members.pick().unwrap().connection().unwrap()).collect()
    }

    #[test]
    fn a_turn_has_as_many_loans_as_were_asked_for() {
        assert_eq!(drawn(1, 6), [1, 2, 0, 1, 2, 0]);
        assert_eq!(drawn(0, 3), [1, 2, 0]);
        assert_eq!(drawn(4, 13), [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn who_leaves_in_the_middle_of_a_turn_leaves_it_to_another() {
        let mut members = Members::new(8, None);
        for number in 0..2 {
            members.serving.push(Member::new(Lease::new(number, Arc::new(Nowhere)), Time::ZERO));
        }
        assert_eq!(members.pick().unwrap().connection(), Some(&1));
        members.serving.pop();
        assert_eq!(members.pick().unwrap().connection(), Some(&0));
        members.serving.clear();
        assert!(members.pick().is_none());
    }
}
