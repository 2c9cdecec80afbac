//! The queue of waiters: first come, first served; leaving costs the same at any position.
//!
//! One ring in order of arrival, so that joining and granting touch one end each. A waiter that
//! leaves from the middle is only marked; marked entries are removed in bulk, so leaving is O(1)
//! amortised. A waiter's grant is put into a [`WaiterCell`] of its own, so that taking it needs no
//! other lock. Cells are used again, so that waiting allocates nothing once there are enough (worth
//! 8 % of `hold64_core1`: the programs of `benches`, `--quick`).
//!
//! # Invariants
//!
//! 1. The ring is in order of arrival, and neither end of it is a waiter that has left; `left`
//!    counts those between.
//! 2. A waiter is in the ring, or its cell holds what it was granted, until it takes it or leaves.
//! 3. A cell is filled under the pool's lock only.

use crate::ledger::Caller;
use crate::rt::Time;
use crate::rt::lock::Mutex;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// How many waiters are woken at once to set timers of their own: the lock is held meanwhile.
const WAKES_AT_ONCE: usize = 256;

/// How many entries an empty queue keeps for the next waiters.
const KEPT: usize = 256;

/// A caller and its acquire.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claimant {
    pub(crate) caller: Caller,
    pub(crate) limit: Duration,
    pub(crate) since: Time,
    pub(crate) deadline: Time,
    /// Its arrival number, from [`Ledger::arrive`](crate::ledger::Ledger::arrive).
    pub(crate) arrival: u64,
    /// Whether it asks again because the connection that it got was unusable.
    pub(crate) again: bool,
    /// Whether it was refused once; the next refusal is final.
    pub(crate) refused_once: bool,
    /// Whether it sets its timer from the start; else the deadline thread wakes it to do so.
    pub(crate) has_timer: bool,
}

impl Claimant {
    /// A caller that has not asked yet.
    pub(crate) fn new(caller: Caller, limit: Duration, has_timer: bool) -> Self {
        let (since, deadline) = (Time::ZERO, Time::NEVER);
        let (again, refused_once) = (false, false);
        Self { caller, limit, since, deadline, arrival: 0, again, refused_once, has_timer }
    }
}

/// The cell in which a waiter finds its grant.
pub(crate) struct WaiterCell<G>(Mutex<Option<G>>);

impl<G> WaiterCell<G> {
    /// Takes the granted value if `wanted` accepts it.
    #[inline]
    pub(crate) fn take_if(&self, wanted: impl FnOnce(&G) -> bool) -> Option<G> {
        self.0.lock().take_if(|granted| wanted(granted))
    }

    fn take(&self) -> Option<G> {
        self.0.lock().take()
    }

    fn put(&self, granted: G) {
        let before = self.0.lock().replace(granted);
        debug_assert!(before.is_none(), "a waiter was granted two things");
    }
}

opaque_debug!([G] WaiterCell<G>, "WaiterCell", |_it| {});

/// A position in the queue. Its owner must [`Queue::leave`] with it, or take the grant from its
/// cell.
#[derive(Debug)]
pub(crate) struct Ticket<G> {
    arrival: u64,
    pub(crate) cell: Arc<WaiterCell<G>>,
}

#[derive(Debug)]
struct Waiter<G> {
    arrival: u64,
    since: Time,
    caller: Caller,
    /// Its waker, unless that was woken since the last poll, and the cell for its grant. `None`: it
    /// has left.
    claim: Option<(Option<Waker>, Arc<WaiterCell<G>>)>,
    /// Whether it has a timer, or was woken to set one.
    has_timer: bool,
}

/// Which waiters have a timer after [`Queue::set_timers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimersSet {
    All,
    /// Those that have waited long enough; younger ones must be woken later.
    Due,
    /// As many as are woken at once: there are more.
    Enough,
}

#[derive(Debug)]
pub(crate) struct Queue<G> {
    ring: VecDeque<Waiter<G>>,
    /// Entries in the ring whose waiters have left.
    left: usize,
    /// Empty cells for the next waiters.
    spare: Vec<Arc<WaiterCell<G>>>,
    /// All waiters that arrived up to here have a timer.
    timers_through: u64,
}

impl<G> Queue<G> {
    pub(crate) fn new() -> Self {
        Self { ring: VecDeque::new(), left: 0, spare: Vec::new(), timers_through: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.ring.len().saturating_sub(self.left)).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn first_arrival(&self) -> Option<u64> {
        self.ring.front().map(|first| first.arrival)
    }

    pub(crate) fn first(&self) -> Option<(Caller, Time)> {
        self.ring.front().map(|first| (first.caller, first.since))
    }

    fn waiting(&self) -> impl Iterator<Item = &Waiter<G>> {
        self.ring.iter().filter(|waiter| waiter.claim.is_some())
    }

    /// How many of the first `most` waiters came at `latest` or before.
    pub(crate) fn count_since(&self, latest: Time, most: u32) -> u32 {
        let early = self.waiting().take(most as usize).take_while(|waiter| waiter.since <= latest);
        u32::try_from(early.count()).unwrap_or(u32::MAX)
    }

    /// The arrival of the first waiter after `latest`, among the first `most`.
    pub(crate) fn first_after(&self, latest: Time, most: u32) -> Option<Time> {
        self.waiting().take(most as usize).map(|waiter| waiter.since).find(|since| *since > latest)
    }

    /// Queues a waiter by arrival: nearly always at the end, or at the front for one that asks
    /// again.
    pub(crate) fn join(&mut self, claimant: &Claimant, waker: Option<Waker>) -> Ticket<G> {
        let Claimant { arrival, since, caller, has_timer, .. } = *claimant;
        let cell = self.spare.pop().unwrap_or_else(|| Arc::new(WaiterCell(Mutex::new(None))));
        let claim = Some((waker, Arc::clone(&cell)));
        let waiter = Waiter { arrival, since, caller, claim, has_timer };
        if self.ring.back().is_none_or(|last| last.arrival < arrival) {
            self.ring.push_back(waiter);
        } else {
            let at = self.ring.partition_point(|other| other.arrival < arrival);
            self.ring.insert(at, waiter);
        }
        // One that joins again may have arrived before one that has set its timer already.
        self.timers_through = self.timers_through.min(arrival.saturating_sub(1));
        Ticket { arrival, cell }
    }

    /// Marks those that came at `latest` or before as having a timer; adds their wakers, which must
    /// be woken outside the lock. One that came later than `now` uses a clock that was paused and
    /// set forward: only it can set its timer.
    pub(crate) fn set_timers(
        &mut self,
        latest: Time,
        now: Time,
        wakers: &mut Vec<Waker>,
    ) -> TimersSet {
        let from = self.ring.partition_point(|waiter| waiter.arrival <= self.timers_through);
        for waiter in self.ring.range_mut(from..) {
            let due = waiter.since <= latest || waiter.since > now;
            match &mut waiter.claim {
                Some(_) if !waiter.has_timer && !due => return TimersSet::Due,
                Some(_) if wakers.len() >= WAKES_AT_ONCE => return TimersSet::Enough,
                Some((waker, _)) if !waiter.has_timer => wakers.extend(waker.take()),
                _ => {}
            }
            waiter.has_timer = true;
            self.timers_through = waiter.arrival;
        }
        TimersSet::All
    }

    /// Keeps an empty cell for the next waiter.
    pub(crate) fn recycle(&mut self, cell: Arc<WaiterCell<G>>) {
        if self.spare.len() < KEPT {
            self.spare.push(cell);
        }
    }

    /// Grants something to the first waiter, and returns its waker unless it has been woken
    /// already. `Err` gives it back if no waiter is left.
    pub(crate) fn grant(&mut self, granted: G) -> Result<Option<Waker>, G> {
        let Some((waker, cell)) = self.ring.pop_front().and_then(|first| first.claim) else {
            return Err(granted);
        };
        cell.put(granted);
        self.tidy();
        Ok(waker)
    }

    /// Polls a waiter for its grant; without one, `waker` will be woken. What is left in `waker`
    /// must be dropped outside the lock, since it is user code.
    pub(crate) fn poll(
        &mut self,
        ticket: Ticket<G>,
        waker: &mut Option<Waker>,
    ) -> Result<G, Ticket<G>> {
        if let Some(granted) = ticket.cell.take() {
            self.recycle(ticket.cell);
            return Ok(granted);
        }
        if let Some(new) = waker.as_ref()
            && let Some((old, _)) =
                self.find(ticket.arrival).and_then(|waiter| waiter.claim.as_mut())
            && !old.as_ref().is_some_and(|old| old.will_wake(new))
        {
            mem::swap(old, waker);
        }
        Err(ticket)
    }

    /// Leaves the queue. Returns the grant, if there is one, or the waker, which must be dropped
    /// outside the lock.
    pub(crate) fn leave(&mut self, ticket: Ticket<G>) -> (Option<G>, Option<Waker>) {
        let granted = ticket.cell.take();
        let mut waker = None;
        if granted.is_none()
            && let Some((left, _)) =
                self.find(ticket.arrival).and_then(|waiter| waiter.claim.take())
        {
            waker = left;
            self.left = self.left.saturating_add(1);
            self.tidy();
        }
        self.recycle(ticket.cell);
        (granted, waker)
    }

    /// Takes the wakers of all waiters, which keep their positions and leave new wakers when
    /// polled.
    pub(crate) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.ring
            .iter_mut()
            .filter_map(|waiter| waiter.claim.as_mut())
            .filter_map(|(waker, _)| waker.take())
    }

    fn find(&mut self, arrival: u64) -> Option<&mut Waiter<G>> {
        let at = self.ring.partition_point(|waiter| waiter.arrival < arrival);
        self.ring.get_mut(at).filter(|waiter| waiter.arrival == arrival)
    }

    /// Removes entries of waiters that have left: at the ends at once, elsewhere when they are as
    /// many as the others.
    fn tidy(&mut self) {
        while self.left > 0 && self.ring.front().is_some_and(|first| first.claim.is_none()) {
            self.ring.pop_front();
            self.left = self.left.saturating_sub(1);
        }
        while self.left > 0 && self.ring.back().is_some_and(|last| last.claim.is_none()) {
            self.ring.pop_back();
            self.left = self.left.saturating_sub(1);
        }
        if self.left > KEPT && self.left > self.ring.len() / 2 {
            self.ring.retain(|waiter| waiter.claim.is_some());
            self.left = 0;
        }
        if self.ring.is_empty() && self.ring.capacity() > KEPT {
            // Memory of a large queue is freed.
            (self.ring, self.spare) = (VecDeque::new(), Vec::new());
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/wait_queue.rs"]
mod tests;
