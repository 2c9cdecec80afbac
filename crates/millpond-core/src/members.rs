//! The members of a `SharedPool`: which connections serve, whose turn it is, who has a clone, and who waits for one.
//!
//! How they come and go as well: one is opened at a time, behind the borrowers' backs; one that is unfit, fails its ping
//! or cannot be cloned goes out of service.

use crate::call::{call, calmly, drop_calmly};
use crate::error::PoolError;
use crate::event::CloseReason;
use crate::examine::failed_ping;
use crate::info::ConnectionId;
use crate::lease::{Lease, Tag};
use crate::ledger::bump;
use crate::manager::Manager;
use crate::pool::Request;
use crate::queue_pool::QueuePool;
use crate::rt::{self, Bell, Handle};
use crate::status::{Holder, Totals};
use crate::sync::Mutex;
use crate::time::Time;
use std::collections::BTreeMap;
use std::mem;
use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// One connection that serves. When the last who needs it is gone it is closed, never lent on.
pub(crate) struct Member<C: Send + 'static> {
    /// `None` only while it is dropped.
    lease: Option<Lease<C>>,
    pub(crate) tag: Tag,
    checked: Mutex<Time>,
    why: OnceLock<CloseReason>,
}

impl<C: Send + 'static> Member<C> {
    pub(crate) fn new(lease: Lease<C>, now: Time) -> Arc<Self> {
        let tag = lease.tag();
        Arc::new(Self { lease: Some(lease), tag, checked: Mutex::new(now), why: OnceLock::new() })
    }

    pub(crate) fn connection(&self) -> Option<&C> {
        self.lease.as_deref()
    }

    /// Says why it goes; whoever is first is believed.
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

/// Who has a clone of which connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loan {
    pub(crate) tag: Tag,
    pub(crate) location: &'static Location<'static>,
    pub(crate) since: Time,
}

/// All members. Guarded by the shared pool's lock: no user code runs in here, and what leaves is dropped outside.
pub(crate) struct Members<C: Send + 'static> {
    pub(crate) serving: Vec<Arc<Member<C>>>,
    /// Whose turn it is, and how many loans are left of it.
    turn: usize,
    left: u32,
    /// How many loans a turn has.
    loans_in_turn: u32,
    /// Whether somebody is opening one more.
    pub(crate) opening: bool,
    /// Why the last opening failed, unless one has succeeded since.
    pub(crate) failure: Option<PoolError>,
    loans: Vec<Option<Loan>>,
    /// The places in `loans` that are empty.
    free: Vec<u32>,
    /// Since when whoever waits has waited, in the order of arrival.
    waiters: BTreeMap<u64, Time>,
    last_ticket: u64,
    pub(crate) closed: bool,
    pub(crate) totals: Totals,
}

impl<C: Send + 'static> Members<C> {
    pub(crate) fn new(loans_in_turn: u32) -> Self {
        Self {
            serving: Vec::new(),
            turn: 0,
            left: 0,
            loans_in_turn,
            opening: false,
            failure: None,
            loans: Vec::new(),
            free: Vec::new(),
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
                self.turn = self.turn.checked_add(1).filter(|turn| *turn < self.serving.len()).unwrap_or(0);
                self.left = self.loans_in_turn.saturating_sub(1);
            }
        }
        self.serving.get(self.turn).cloned()
    }

    /// Takes the members out of service that are unfit.
    pub(crate) fn retire(&mut self, unfit: impl Fn(&Tag) -> Option<CloseReason>) -> Vec<Arc<Member<C>>> {
        let goes = |member: &mut Arc<Member<C>>| unfit(&member.tag).map(|why| member.dismiss(why)).is_some();
        self.serving.extract_if(.., goes).collect()
    }

    /// Takes one member out of service.
    pub(crate) fn dismiss(&mut self, id: ConnectionId, why: CloseReason) -> Vec<Arc<Member<C>>> {
        self.retire(|tag| (tag.id == id).then_some(why))
    }

    /// Takes all members out of service.
    pub(crate) fn dismiss_all(&mut self, why: CloseReason) -> Vec<Arc<Member<C>>> {
        self.retire(|_| Some(why))
    }

    /// Notes a loan, and where.
    pub(crate) fn lend(&mut self, loan: Loan) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.loans.push(None);
            u32::try_from(self.loans.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(empty) = self.loans.get_mut(place as usize) {
            *empty = Some(loan);
        }
        place
    }

    /// One acquire more that went well.
    fn count_acquire(&mut self) {
        bump(&mut self.totals.acquires);
        bump(&mut self.totals.ok);
    }

    /// Nothing came of a loan: its clone panicked.
    pub(crate) fn take_back(&mut self, place: u32, count: Count) {
        self.give_back(place);
        if count == Count::WithAcquire {
            let Totals { acquires, ok, .. } = &mut self.totals;
            (*acquires, *ok) = (acquires.saturating_sub(1), ok.saturating_sub(1));
        }
    }

    pub(crate) fn give_back(&mut self, place: u32) -> Option<Loan> {
        let loan = self.loans.get_mut(place as usize).and_then(Option::take)?;
        self.free.push(place);
        Some(loan)
    }

    /// One more waits, unless as many as `limit` allows do already.
    pub(crate) fn join(&mut self, since: Time, limit: Option<u32>) -> Result<u64, PoolError> {
        if let Some(limit) = limit.filter(|limit| self.waiting() >= *limit) {
            return Err(PoolError::TooManyWaiters { limit });
        }
        self.last_ticket = self.last_ticket.saturating_add(1);
        self.waiters.insert(self.last_ticket, since);
        Ok(self.last_ticket)
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

    /// Who has a clone, the oldest first.
    pub(crate) fn holders(&self, now: Time) -> Vec<Holder> {
        let loans = self.loans.iter().flatten();
        let holder = |loan: &Loan| Holder { id: loan.tag.id, location: loan.location, held: now.since(loan.since) };
        let mut holders: Vec<Holder> = loans.map(holder).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        holders
    }
}

/// What the handles, the leases and the acquires of a shared pool have in common.
pub(crate) struct Core<M: Manager> {
    /// Opens, counts and closes the members.
    pub(crate) pool: QueuePool<M>,
    /// No user code runs while it is locked.
    pub(crate) members: Mutex<Members<M::Connection>>,
    /// Rung whenever a member has come, could not be had, or was given up because the home runtime ended.
    pub(crate) bell: Bell,
}

impl<M: Manager> Core<M> {
    /// Takes the members out of service that are too old, or of a generation that a failover, an `invalidate_all` or the
    /// end of their runtime outdated. They are to be dropped outside the lock.
    pub(crate) fn retire_unfit(
        &self,
        members: &mut Members<M::Connection>,
        now: Time,
    ) -> Vec<Arc<Member<M::Connection>>> {
        let ledger = self.pool.shared().ledger.lock();
        members.retire(|tag| ledger.unfit(tag, now))
    }

    /// Whether one more member is to be opened, and where. The failure is the last one's, to be dropped outside the lock.
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

    /// Asks the server in the background whether the member is alive, if its last answer is older than
    /// `pre_ping_idle`.
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
            if let Err(error) = call(shared.config.ping_timeout, || shared.manager.ping(&mut conn)).await {
                let why = failed_ping(&shared, tag, error);
                if let Some(core) = core.upgrade() {
                    core.dismiss(tag.id, why);
                }
            }
        });
    }
}

/// What is counted with a loan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// Nothing: whoever waits counts his acquire himself, however it ends.
    Loan,
    /// An acquire that went well, as there is none that could end otherwise.
    WithAcquire,
}

/// What a look at the members came to.
pub(crate) struct Pick<C: Send + 'static> {
    /// The next member in turn, and the place of the loan.
    pub(crate) member: Option<(Arc<Member<C>>, u32)>,
    /// Whether one more is being opened.
    pub(crate) opening: bool,
}

/// Lends the next member in turn. Retires those that are unfit if this one is, and has one more opened if there are too
/// few.
pub(crate) fn pick<M: Manager>(
    core: &Arc<Core<M>>,
    request: Request,
    count: Count,
    now: Time,
) -> Result<Pick<M::Connection>, PoolError>
where
    M::Connection: Clone + Sync,
{
    let (pick, opening, old) = {
        let mut members = core.members.lock();
        if members.closed {
            return Err(PoolError::Closed);
        }
        let mut old = Vec::new();
        let mut member = members.pick();
        // As a rule it is fit, which is seen without the ledger's lock.
        if !member.as_ref().is_some_and(|member| core.pool.shared().is_young(&member.tag, now)) {
            old = core.retire_unfit(&mut members, now);
            member = members.pick();
        }
        let opening = core.begin_opening(&mut members);
        let member = member.map(|member| {
            let loan = members.lend(Loan { tag: member.tag, location: request.holder, since: now });
            if count == Count::WithAcquire {
                members.count_acquire();
            }
            (member, loan)
        });
        (Pick { member, opening: members.opening }, opening, old)
    };
    // The old ones go once the lock is released, and so does the last failure: their destructors are not ours.
    drop(old);
    if let Some((home, guard, failure)) = opening {
        let _ = drop_calmly(failure);
        rt::spawn(&home, open(guard));
    }
    Ok(pick)
}

/// That one more member is being opened. Does not keep the pool alive: nothing is opened for nobody.
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
    // The acquire outlives the pool only to be told that it is closed.
    let Some(acquire) = opening.0.upgrade().map(|core| core.pool.acquire()) else { return };
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
    use crate::lease::{Held, Home};

    struct Nowhere;

    impl Home<u32> for Nowhere {
        fn returned(&self, _: Held<u32>) {}
    }

    fn drawn(loans_in_turn: u32, loans: usize) -> Vec<u32> {
        let mut members = Members::new(loans_in_turn);
        for number in 0..3 {
            members.serving.push(Member::new(Lease::new(number, Arc::new(Nowhere)), Time::ZERO));
        }
        (0..loans).map(|_| *members.pick().unwrap().connection().unwrap()).collect()
    }

    #[test]
    fn a_turn_has_as_many_loans_as_it_was_told() {
        assert_eq!(drawn(1, 6), [1, 2, 0, 1, 2, 0]);
        assert_eq!(drawn(0, 3), [1, 2, 0]);
        assert_eq!(drawn(4, 13), [1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn who_leaves_in_the_middle_of_a_turn_leaves_it_to_another() {
        let mut members = Members::new(8);
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
