//! The pool's whole state as one plain struct: who has what, who waits, what is to be done next.
//!
//! The ledger takes an event and the time, changes itself, and says what follows: a connection to examine, wakers to
//! wake, jobs for the keeper. It performs nothing: no async, no clock, no I/O, no user code; nothing is woken or dropped
//! while its lock is held. So it can be simulated by seed and checked exhaustively.
//!
//! A connection that becomes available has one way to go, [`Ledger::settle`]: to the oldest waiter, else to the idle
//! ones, else it closes.
//!
//! # Invariants
//!
//! 1. Places taken never grow beyond the cap; those being opened and closed count.
//! 2. While lending goes on, nobody waits while a connection is idle.
//! 3. Nobody is passed in the queue: a newcomer finds something idle only if nobody waits (2).
//! 4. Every connection is in exactly one place: idle, in use, with the keeper or in its inbox, or granted to a waiter.
//! 5. What is older than the last `invalidate_all` is never lent.

pub(crate) mod effects;
pub(crate) mod expiry;
pub(crate) mod fast_path;
pub(crate) mod grant;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod slots;
pub(crate) mod wait_queue;

use crate::config::PoolConfig;
use crate::engine::validate::Examination;
use crate::error::PoolError;
use crate::event::{CloseReason, SharedError};
use crate::histogram::PoolHistograms;
use crate::info::ConnectionId;
use crate::lease::{LeaseMeta, PooledConnection};
use crate::ledger::effects::Aftermath;
use crate::ledger::grant::Grant;
use crate::ledger::growth::Opening;
use crate::ledger::idle::Idle;
use crate::ledger::slots::{Caller, Slots, Stage};
use crate::ledger::wait_queue::{Queue, Ticket};
use crate::rt::Handle;
use crate::rt::lock::AtomicU64;
use crate::rt::time::Time;
use crate::status::{Status, Totals};
use std::any::Any;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

/// How long the keeper's examination of an idle connection counts for `try_acquire`.
pub(crate) const EXAMINED_LASTS: Duration = Duration::from_millis(500);

/// Something that must be awaited and is nobody's acquire.
#[derive(Debug)]
pub(crate) enum Job<C> {
    /// Open a connection in this place.
    Connect(Attempt),
    /// Reset or ping a connection that came back, if need be, and call the `on_checkin` hooks.
    Checkin { held: PooledConnection<C>, reset: bool, ping: bool },
    /// Ping an idle connection that nobody is waiting for.
    Examine(PooledConnection<C>),
    /// See through an examination whose caller has gone.
    SeeThrough(Examination<C>),
    /// Say goodbye and close.
    Close(PooledConnection<C>, CloseReason),
}

/// A connection to be opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    pub(crate) slot: u32,
    pub(crate) id: ConnectionId,
    pub(crate) generation: u64,
    pub(crate) attempt: u32,
    /// Whether the `on_first_connect` hooks have to be called.
    pub(crate) first: bool,
}

/// The answer to one who asks for a connection.
#[derive(Debug)]
pub(crate) enum Claim<C> {
    /// An idle connection, to be examined if something is due.
    Idle(PooledConnection<C>),
    /// A place in the queue; `enlist` if the watch has to be asked to look after this pool.
    Wait { ticket: Ticket<Grant<C>>, enlist: bool },
    /// The caller has to wait, and there is no keeper yet: bring a runtime, then ask again.
    NeedsKeeper,
    /// No.
    Failed(PoolError),
}

/// Who asks, and when it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    /// Its place in the order of arrival, from [`Ledger::arrive`].
    pub(crate) arrival: u64,
    pub(crate) since: Time,
    /// Whether it asks again because the connection that it got was no good.
    pub(crate) again: bool,
    /// Whether it watches its own deadline from the start; else the watch wakes it to do so.
    pub(crate) armed: bool,
}

/// The one task that keeps house.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// The runtime that it lives on, once it is known.
    pub(crate) home: Handle,
    pub(crate) waker: Option<Waker>,
    /// When it will look again by itself.
    pub(crate) wakes_at: Time,
    /// Since when it has been called and has not come.
    pub(crate) called: Option<Time>,
    /// The pool itself, from the moment its last handle is gone until everything is closed.
    pub(crate) survivor: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Debug)]
pub(crate) struct Ledger<C> {
    pub(crate) config: PoolConfig,
    /// Whether connections are kept at all (`NullPool` keeps none).
    pub(crate) keeps: bool,
    pub(crate) closed: bool,
    pub(crate) suspended: bool,
    /// Whether the fast paths have to stand aside.
    pub(crate) eventful: bool,
    /// Whether no state and no setting looks at every loan.
    pub(crate) lends_plainly: bool,
    /// Whether no setting looks at every wait.
    pub(crate) waits_plainly: bool,
    /// After how many nanoseconds without a sign of life a ping is due: `pre_ping_idle`, or never.
    ping_after: u64,
    pub(crate) generation: u64,
    /// Connections of a generation below this are dropped without a farewell.
    pub(crate) hard_below: u64,
    /// Ready to be lent.
    pub(crate) idle: Idle<C>,
    pub(crate) waiters: Queue<Grant<C>>,
    /// Whether the watch looks after the waiters.
    pub(crate) watched: bool,
    pub(crate) slots: Slots,
    pub(crate) opening: Opening,
    pub(crate) inbox: Vec<Job<C>>,
    pub(crate) keeper: Option<Keeper>,
    /// How often a home runtime has ended.
    pub(crate) homes_lost: u32,
    /// Tasks that wait for any change, each with its own number: `prewarm` and `close`.
    pub(crate) watchers: Vec<(u64, Waker)>,
    pub(crate) last_watcher: u64,
    pub(crate) totals: Totals,
    /// Loans that waiters have fetched without the lock; `totals.succeeded` has the others.
    pub(crate) fetched: Arc<AtomicU64>,
    pub(crate) aftermath: Aftermath<C>,
    /// How long waits and loans took, if somebody wants to know.
    pub(crate) times: Option<Arc<PoolHistograms>>,
    /// Whether waits and loans are counted there. Of a `SharedPool`'s members only the opening is.
    pub(crate) measures_loans: bool,
    seq: u64,
}

/// Counts one more.
pub(crate) fn bump(count: &mut u64) {
    *count = count.saturating_add(1);
}

impl<C: Send + 'static> Ledger<C> {
    pub(crate) fn new(config: PoolConfig, keeps: bool, first_connect_hooks: bool, seed: u64) -> Self {
        Self {
            ping_after: config.ping_after(),
            opening: Opening::new(&config, first_connect_hooks, seed),
            config,
            keeps,
            closed: false,
            suspended: false,
            eventful: true,
            lends_plainly: false,
            waits_plainly: false,
            generation: 0,
            hard_below: 0,
            idle: Idle::new(),
            waiters: Queue::new(),
            watched: false,
            slots: Slots::new(),
            inbox: Vec::new(),
            keeper: None,
            homes_lost: 0,
            watchers: Vec::new(),
            last_watcher: 0,
            totals: Totals::default(),
            fetched: Arc::default(),
            aftermath: Aftermath::default(),
            times: None,
            measures_loans: true,
            seq: 0,
        }
    }

    /// The next number in the order of events.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.seq = self.seq.saturating_add(1);
        self.seq
    }

    /// The same if there is anybody to tell.
    pub(crate) fn stamp_if(&mut self, observed: bool) -> Option<u64> {
        observed.then(|| self.stamp())
    }

    /// A connection was lent to one who had asked for it then.
    #[inline]
    pub(crate) fn measure_wait(&self, since: Time, now: Time) {
        if let Some(times) = self.times.as_ref().filter(|_| self.measures_loans) {
            times.waits.add(now.nanos_since(since));
        }
    }

    /// A connection came back that had been lent then.
    #[inline]
    pub(crate) fn measure_use(&self, since: Time, now: Time) {
        if let Some(times) = self.times.as_ref().filter(|_| self.measures_loans) {
            times.uses.add(now.nanos_since(since));
        }
    }

    /// A connection was opened in this time.
    pub(crate) fn measure_creation(&self, took: Duration) {
        if let Some(times) = &self.times {
            times.creations.add(Time::at(took).nanos_since(Time::ZERO));
        }
    }

    /// One more caller has begun to ask.
    pub(crate) fn arrive(&mut self) -> u64 {
        bump(&mut self.totals.acquires);
        self.totals.acquires
    }

    /// Asks for a connection. A waiter takes `waker`, which is woken when something was granted; else it is to be dropped
    /// outside the lock, as it was cloned there: both are user code.
    pub(crate) fn claim(&mut self, asker: Asker, waker: &mut Option<Waker>, now: Time) -> Claim<C> {
        if self.closed {
            return Claim::Failed(PoolError::Closed);
        }
        if !self.suspended
            && let Some(held) = self.take_idle(asker.caller, now)
        {
            return Claim::Idle(held);
        }
        // Before any refusal: without a keeper nobody would look for the server's return.
        if self.keeper.is_none() {
            return Claim::NeedsKeeper;
        }
        if let Some(error) = self.refusal().filter(|_| !asker.again) {
            return Claim::Failed(error);
        }
        self.opening.note_asked(now);
        let ticket = self.waiters.join(asker.arrival, asker.since, asker.armed, asker.caller, waker.take());
        self.open_more(now);
        self.check();
        let enlist = !asker.armed && !mem::replace(&mut self.watched, true);
        Claim::Wait { ticket, enlist }
    }

    /// The freshest idle connection that is young enough, lent to the caller.
    fn take_idle(&mut self, caller: Caller, now: Time) -> Option<PooledConnection<C>> {
        self.prefer_last_of(caller, now);
        self.retire_unfit(now);
        let mut held = self.idle.pop_freshest()?;
        held.inner.tag.idled = now.nanos_since(held.inner.tag.idle_since);
        self.lend(&mut held, caller, now);
        if self.config.min_idle.is_some() {
            self.open_more(now);
        }
        Some(held)
    }

    /// Ends what may not be lent any more, until the freshest idle connection may.
    fn retire_unfit(&mut self, now: Time) {
        while let Some(reason) = self.idle.freshest().and_then(|freshest| self.unfit(&freshest.inner.tag, now))
            && let Some(held) = self.idle.pop_freshest()
        {
            self.retire(held, reason, now);
        }
    }

    /// Whether a connection that was lent just now has to be pinged before its borrower gets it: nothing was heard of it
    /// for long enough, and it was not opened for this very borrower.
    pub(crate) fn ping_due(&self, tag: &LeaseMeta, now: Time) -> bool {
        let just_opened = tag.uses <= 1 && tag.idled == 0;
        !just_opened && self.ping_would_be_due(tag, now)
    }

    /// Whether a connection has to be examined before `try_acquire` lends it. Where every checkout pings, the answer that
    /// the keeper has just had for it counts as this checkout's.
    fn try_has_to_ping(&self, tag: &LeaseMeta, now: Time) -> bool {
        let examined = tag.proved_at > tag.idle_since && now.since(tag.proved_at) < EXAMINED_LASTS;
        !examined && self.ping_would_be_due(tag, now)
    }

    pub(crate) fn ping_would_be_due(&self, tag: &LeaseMeta, now: Time) -> bool {
        now.nanos_since(tag.proved_at) >= self.ping_after
    }

    fn lend(&mut self, held: &mut PooledConnection<C>, caller: Caller, now: Time) {
        held.inner.tag.note_loan(caller.task);
        self.slots.lend(held.inner.tag.slot, caller, now);
        if let Some(age) = self.config.report_after() {
            self.expect_sweep(now.after(age), now);
        }
    }

    /// Lends an idle connection for which nothing is due, and has the others examined.
    pub(crate) fn try_claim(&mut self, caller: Caller, now: Time) -> Option<PooledConnection<C>> {
        if self.closed || self.suspended {
            return None;
        }
        self.prefer_last_of(caller, now);
        self.retire_unfit(now);
        if self.idle.freshest().is_some_and(|freshest| self.try_has_to_ping(&freshest.inner.tag, now)) {
            self.examine_idle(self.config.pre_ping_idle, now);
            return None;
        }
        let held = self.take_idle(caller, now);
        if held.is_some() {
            self.arrive();
            bump(&mut self.totals.succeeded);
            self.measure_wait(now, now);
        }
        self.check();
        held
    }

    /// Why this connection may not be lent, if so.
    pub(crate) fn unfit(&self, tag: &LeaseMeta, now: Time) -> Option<CloseReason> {
        if tag.generation != self.generation {
            Some(CloseReason::Invalidated)
        } else if now >= tag.expires {
            Some(CloseReason::Recycled)
        } else {
            None
        }
    }

    /// A borrower gave a connection back, and it is fit as it is.
    pub(crate) fn put_back(&mut self, held: PooledConnection<C>, now: Time) {
        if self.keeps || self.closed {
            self.settle(held, now);
        } else {
            self.retire(held, CloseReason::NotPooled, now);
        }
        self.check();
    }

    /// A connection that the keeper looked after is fit again.
    pub(crate) fn settle_checked(&mut self, held: PooledConnection<C>, now: Time) {
        self.settle(held, now);
        self.check();
    }

    /// The one way of a connection that has become available: to the oldest waiter, to the idle ones, or out.
    pub(crate) fn settle(&mut self, mut held: PooledConnection<C>, now: Time) {
        let reason = if self.closed {
            Some(CloseReason::PoolClosed)
        } else {
            self.unfit(&held.inner.tag, now).or_else(|| self.too_many().then_some(CloseReason::Shrunk))
        };
        if let Some(reason) = reason {
            return self.retire(held, reason, now);
        }
        if self.slots.is_doubted(held.inner.tag.slot) && self.keeper.is_some() {
            return self.examine(held, now);
        }
        if !self.suspended
            && let Some((caller, _)) = self.waiters.first()
        {
            held.inner.tag.idled = now.nanos_since(held.inner.tag.idle_since);
            self.lend(&mut held, caller, now);
            match self.waiters.grant(Grant::Due(held)) {
                Ok(waker) => self.wake(waker),
                Err(_) => debug_assert!(false, "the first waiter has gone under the lock"),
            }
            return;
        }
        self.keep_idle(held, now);
    }

    /// Whether more connections are open than the sizes allow since they were changed.
    fn too_many(&self) -> bool {
        self.slots.used().saturating_sub(self.slots.count(Stage::Closing)) > self.config.cap()
    }

    /// Nobody waits: keep the connection if there is room among the idle ones, or let it linger, or close it.
    fn keep_idle(&mut self, held: PooledConnection<C>, now: Time) {
        if !self.keeps {
            return self.retire(held, CloseReason::NotPooled, now);
        }
        let lingers = self.config.overflow_linger > Duration::ZERO;
        let full = self.idle.len() >= self.config.pool_size as usize && self.idle.len() >= self.idle_room();
        if full && !lingers {
            return self.retire(held, CloseReason::Overflow, now);
        }
        let tag = &held.inner.tag;
        self.slots.shift(tag.slot, Stage::Idle, now);
        let due = self.idle_due(tag);
        self.idle.insert(held, now);
        self.expect_sweep(due, now);
        self.notify_watchers();
    }

    /// How many connections may be idle: `pool_size`, and those that wait for their end beside their successors.
    pub(crate) fn idle_room(&self) -> usize {
        self.idle.renewals_done().saturating_add(self.config.pool_size as usize)
    }

    /// Ends a connection: the keeper closes it, and it holds its place until that is done.
    pub(crate) fn retire(&mut self, held: PooledConnection<C>, reason: CloseReason, now: Time) {
        let slot = held.inner.tag.slot;
        self.slots.shift(slot, Stage::Closing, now);
        if self.keeper.is_some() && held.inner.tag.generation >= self.hard_below {
            self.inbox.push(Job::Close(held, reason));
            self.call_keeper(now);
        } else {
            // It is dropped when the lock is released, and holds its place until then.
            self.aftermath.dropped.push((held, reason));
        }
    }

    /// A connection has been closed: its place is free.
    pub(crate) fn gone(&mut self, slot: u32, now: Time) {
        bump(&mut self.totals.closed);
        self.free(slot, now);
    }

    /// A borrower keeps its connection for good: its place is free.
    pub(crate) fn detached(&mut self, slot: u32, now: Time) {
        bump(&mut self.totals.detached);
        self.free(slot, now);
    }

    pub(crate) fn free(&mut self, slot: u32, now: Time) {
        self.slots.shift(slot, Stage::Free, now);
        if self.eventful {
            self.note_eventful();
        }
        self.open_more(now);
        self.notify_watchers();
        if self.closed && self.slots.used() == 0 {
            self.call_keeper(now);
        }
        self.check();
    }

    /// Takes a free place for a connection that is opened past the pool.
    pub(crate) fn reserve(&mut self, now: Time) -> Option<u32> {
        if self.closed || self.suspended || self.slots.used() >= self.config.cap() {
            return None;
        }
        let (slot, _) = self.slots.take(now);
        self.slots.shift(slot, Stage::Reserved, now);
        self.totals.peak = self.totals.peak.max(self.slots.used());
        self.check();
        Some(slot)
    }

    /// How the pool is doing.
    pub(crate) fn status(&self, now: Time) -> Status {
        let succeeded = self.totals.succeeded.saturating_add(self.fetched.load(Ordering::Relaxed));
        Status {
            pool_size: self.config.pool_size,
            max_overflow: self.config.max_overflow,
            open: self.slots.open(),
            connecting: self.slots.count(Stage::Connecting),
            idle: self.slots.count(Stage::Idle),
            in_use: self.slots.count(Stage::InUse),
            resetting: self.slots.count(Stage::Resting),
            closing: self.slots.count(Stage::Closing),
            reserved: self.slots.count(Stage::Reserved),
            waiting: self.waiters.len(),
            oldest_waiter: self.waiters.first().map(|(_, since)| now.since(since)),
            failing_since: self.failing_for(now),
            generation: self.generation,
            suspended: self.suspended,
            closed: self.closed,
            totals: Totals { succeeded, ..self.totals },
        }
    }

    /// Why the last attempt to connect failed, unless one has succeeded since.
    pub(crate) fn last_error(&self) -> Option<SharedError> {
        self.opening.last_error.clone()
    }

    #[cfg(not(debug_assertions))]
    pub(crate) fn check(&self) {}

    /// The invariants, after every transition of a debug build.
    #[cfg(debug_assertions)]
    pub(crate) fn check(&self) {
        self.slots.check();
        debug_assert_eq!(self.slots.count(Stage::Idle) as usize, self.idle.len(), "idle connections are miscounted");
        let idle_while_waiting = !self.suspended && !self.waiters.is_empty() && !self.idle.is_empty();
        debug_assert!(!idle_while_waiting, "somebody waits while a connection is idle");
    }
}
