//! The queue of waiters: first come, first served, and leaving costs the same wherever one stands.
//!
//! One ring in order of arrival, so that joining and granting touch one end each. A waiter that
//! leaves from between is marked, and swept out when the marks are many: no single one pays for
//! the length of the queue. What a waiter is granted lies in a [`WaiterCell`] of its own, so that
//! taking it needs no other lock. Cells are used again, so that waiting allocates nothing once
//! there are enough (worth 8 % of `hold64_core1`: the programs of `benches`, `--quick`).
//!
//! # Invariants
//!
//! 1. The ring is in order of arrival, and neither end of it is a waiter that has left; `gone`
//!    counts those between.
//! 2. A waiter is in the ring, or something lies in its cell: what it was granted, until it takes
//!    it or leaves.
//! 3. A cell is filled under the pool's lock only.

use crate::ledger::slots::Caller;
use crate::rt::lock::Mutex;
use crate::rt::time::Time;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

/// How many waiters are woken at once to set timers of their own: the lock is held meanwhile.
const ARMED_AT_ONCE: usize = 256;

/// How many places an empty queue keeps for the next waiters.
const KEPT: usize = 256;

/// Where a waiter finds what it was granted.
pub(crate) struct WaiterCell<G>(Mutex<Option<G>>);

impl<G> WaiterCell<G> {
    /// Takes what lies there if it is as wanted.
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

impl<G> fmt::Debug for WaiterCell<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaiterCell").finish_non_exhaustive()
    }
}

/// A place in the queue. Its owner must [`Queue::leave`] with it, or take what lies in its cell.
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
    /// Whom to wake, unless it has been woken since it last looked, and where to put what it is
    /// granted; `None`: it has left.
    claim: Option<(Option<Waker>, Arc<WaiterCell<G>>)>,
    /// Whether it watches its own deadline.
    armed: bool,
}

/// Who watches its own deadline after [`Queue::arm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Armed {
    /// Everybody.
    All,
    /// Those that have waited long enough; the others must be woken later.
    Due,
    /// As many as are woken at once: there are more.
    Enough,
}

/// What a waiter finds when it looks.
#[derive(Debug)]
pub(crate) enum Look<G> {
    /// Something was granted.
    Granted(G),
    /// Not yet: its ticket.
    Waiting(Ticket<G>),
}

#[derive(Debug)]
pub(crate) struct Queue<G> {
    ring: VecDeque<Waiter<G>>,
    /// Those in the ring who have left.
    gone: usize,
    /// Empty cells for the next waiters.
    spare: Vec<Arc<WaiterCell<G>>>,
    /// Everybody who arrived up to here watches its own deadline.
    armed_through: u64,
}

impl<G> Queue<G> {
    pub(crate) fn new() -> Self {
        Self { ring: VecDeque::new(), gone: 0, spare: Vec::new(), armed_through: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.ring.len().saturating_sub(self.gone)).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// The arrival number of the first waiter.
    pub(crate) fn first_arrival(&self) -> Option<u64> {
        self.ring.front().map(|first| first.arrival)
    }

    /// Who is first, and since when.
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

    /// Since when the first of the first `most` waiters has waited who came after `latest`.
    pub(crate) fn first_after(&self, latest: Time, most: u32) -> Option<Time> {
        self.waiting().take(most as usize).map(|waiter| waiter.since).find(|since| *since > latest)
    }

    /// Queues a waiter at its place by arrival: nearly always the end, or the front for one who has
    /// to come again. `armed`: it watches its own deadline from the start.
    pub(crate) fn join(
        &mut self,
        arrival: u64,
        since: Time,
        armed: bool,
        caller: Caller,
        waker: Option<Waker>,
    ) -> Ticket<G> {
        let cell = self.spare.pop().unwrap_or_else(|| Arc::new(WaiterCell(Mutex::new(None))));
        let waiter =
            Waiter { arrival, since, caller, claim: Some((waker, Arc::clone(&cell))), armed };
        if self.ring.back().is_none_or(|last| last.arrival < arrival) {
            self.ring.push_back(waiter);
        } else {
            let at = self.ring.partition_point(|other| other.arrival < arrival);
            self.ring.insert(at, waiter);
        }
        // One that joins again may have arrived before one that has set its timer already.
        self.armed_through = self.armed_through.min(arrival.saturating_sub(1));
        Ticket { arrival, cell }
    }

    /// Has those who came at `latest` or before watch their own deadlines: their wakers, to be
    /// woken outside the lock. One that came later than `now` uses a clock that was paused and set
    /// forward: only it can set its timer.
    pub(crate) fn arm(&mut self, latest: Time, now: Time, wakers: &mut Vec<Waker>) -> Armed {
        let from = self.ring.partition_point(|waiter| waiter.arrival <= self.armed_through);
        for waiter in self.ring.range_mut(from..) {
            let due = waiter.since <= latest || waiter.since > now;
            match &mut waiter.claim {
                Some(_) if !waiter.armed && !due => return Armed::Due,
                Some(_) if wakers.len() >= ARMED_AT_ONCE => return Armed::Enough,
                Some((waker, _)) if !waiter.armed => wakers.extend(waker.take()),
                _ => {}
            }
            waiter.armed = true;
            self.armed_through = waiter.arrival;
        }
        Armed::All
    }

    /// Keeps an empty cell for the next waiter.
    pub(crate) fn recycle(&mut self, cell: Arc<WaiterCell<G>>) {
        if self.spare.len() < KEPT {
            self.spare.push(cell);
        }
    }

    /// Grants something to the first waiter, and returns its waker unless it has been woken
    /// already. `Err` gives it back when nobody waits.
    pub(crate) fn grant(&mut self, granted: G) -> Result<Option<Waker>, G> {
        let Some((waker, cell)) = self.ring.pop_front().and_then(|first| first.claim) else {
            return Err(granted);
        };
        cell.put(granted);
        self.tidy();
        Ok(waker)
    }

    /// Looks whether something was granted; if not, `waker` will be woken. What is left in `waker`
    /// is to be dropped outside the lock, and it was cloned there: both are user code.
    pub(crate) fn look(&mut self, ticket: Ticket<G>, waker: &mut Option<Waker>) -> Look<G> {
        if let Some(granted) = ticket.cell.take() {
            self.recycle(ticket.cell);
            return Look::Granted(granted);
        }
        if let Some(new) = waker.as_ref()
            && let Some((old, _)) =
                self.find(ticket.arrival).and_then(|waiter| waiter.claim.as_mut())
            && !old.as_ref().is_some_and(|old| old.will_wake(new))
        {
            mem::swap(old, waker);
        }
        Look::Waiting(ticket)
    }

    /// Leaves the queue. What had been granted, or the waker, to be dropped outside the lock.
    pub(crate) fn leave(&mut self, ticket: Ticket<G>) -> (Option<G>, Option<Waker>) {
        let granted = ticket.cell.take();
        let mut waker = None;
        if granted.is_none()
            && let Some((left, _)) =
                self.find(ticket.arrival).and_then(|waiter| waiter.claim.take())
        {
            waker = left;
            self.gone = self.gone.saturating_add(1);
            self.tidy();
        }
        self.recycle(ticket.cell);
        (granted, waker)
    }

    /// Takes the wakers of all who wait, to wake them: they keep their places, and leave new ones
    /// when they look.
    pub(crate) fn take_wakers(&mut self) -> impl Iterator<Item = Waker> {
        self.ring
            .iter_mut()
            .filter_map(|waiter| waiter.claim.as_mut())
            .filter_map(|(waker, _)| waker.take())
    }

    /// The waiter that came then. Arrivals mostly follow one another, so it is where they say or
    /// somewhat before.
    fn find(&mut self, arrival: u64) -> Option<&mut Waiter<G>> {
        let guess =
            usize::try_from(arrival.checked_sub(self.first_arrival()?)?).unwrap_or(usize::MAX);
        let is_there = self.ring.get(guess).is_some_and(|waiter| waiter.arrival == arrival);
        let at = if is_there {
            guess
        } else {
            self.ring.partition_point(|waiter| waiter.arrival < arrival)
        };
        self.ring.get_mut(at).filter(|waiter| waiter.arrival == arrival)
    }

    /// Sweeps out those who have left: at the ends at once, elsewhere when they are as many as
    /// those who wait.
    fn tidy(&mut self) {
        while self.gone > 0 && self.ring.front().is_some_and(|first| first.claim.is_none()) {
            self.ring.pop_front();
            self.gone = self.gone.saturating_sub(1);
        }
        while self.gone > 0 && self.ring.back().is_some_and(|last| last.claim.is_none()) {
            self.ring.pop_back();
            self.gone = self.gone.saturating_sub(1);
        }
        if self.gone > KEPT && self.gone > self.ring.len() / 2 {
            self.ring.retain(|waiter| waiter.claim.is_some());
            self.gone = 0;
        }
        if self.ring.is_empty() && self.ring.capacity() > KEPT {
            // A crowd that has gone leaves no memory behind.
            (self.ring, self.spare) = (VecDeque::new(), Vec::new());
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/wait_queue.rs"]
mod tests;
