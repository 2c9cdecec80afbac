//! The members of a `SharedPool`: which connections serve, whose turn it is, and who has a clone.

use crate::error::PoolError;
use crate::event::CloseReason;
use crate::info::ConnectionId;
use crate::lease::{Lease, Tag};
use crate::status::{Holder, Totals};
use crate::sync::Mutex;
use crate::time::Time;
use std::panic::Location;
use std::sync::{Arc, OnceLock};
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
    fn dismiss(&self, why: CloseReason) {
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
    /// Whose turn it is.
    turn: usize,
    /// Whether somebody is opening one more.
    pub(crate) opening: bool,
    /// Why the last opening failed, unless one has succeeded since.
    pub(crate) failure: Option<PoolError>,
    loans: Vec<Option<Loan>>,
    pub(crate) closed: bool,
    pub(crate) totals: Totals,
}

impl<C: Send + 'static> Members<C> {
    pub(crate) fn new() -> Self {
        Self {
            serving: Vec::new(),
            turn: 0,
            opening: false,
            failure: None,
            loans: Vec::new(),
            closed: false,
            totals: Totals::default(),
        }
    }

    /// The next one in turn.
    pub(crate) fn pick(&mut self) -> Option<Arc<Member<C>>> {
        self.turn = self.turn.checked_add(1).filter(|turn| *turn < self.serving.len()).unwrap_or(0);
        self.serving.get(self.turn).cloned()
    }

    /// Takes the members out of service that are too old.
    pub(crate) fn retire_old(&mut self, now: Time) -> Vec<Arc<Member<C>>> {
        self.dismiss_if(CloseReason::Recycled, |member| now >= member.tag.expires)
    }

    /// Takes one member out of service.
    pub(crate) fn dismiss(&mut self, id: ConnectionId, why: CloseReason) -> Vec<Arc<Member<C>>> {
        self.dismiss_if(why, |member| member.tag.id == id)
    }

    /// Takes all members out of service.
    pub(crate) fn dismiss_all(&mut self, why: CloseReason) -> Vec<Arc<Member<C>>> {
        self.dismiss_if(why, |_| true)
    }

    fn dismiss_if(&mut self, why: CloseReason, goes: impl Fn(&Member<C>) -> bool) -> Vec<Arc<Member<C>>> {
        let gone: Vec<_> = self.serving.extract_if(.., |member| goes(member)).collect();
        gone.iter().for_each(|member| member.dismiss(why));
        gone
    }

    /// Notes a loan, and where.
    pub(crate) fn lend(&mut self, loan: Loan) -> u32 {
        let free = self.loans.iter().position(Option::is_none).unwrap_or(self.loans.len());
        match self.loans.get_mut(free) {
            Some(place) => *place = Some(loan),
            None => self.loans.push(Some(loan)),
        }
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    pub(crate) fn give_back(&mut self, loan: u32) -> Option<Loan> {
        self.loans.get_mut(loan as usize).and_then(Option::take)
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
