//! The fields of the ledger, how they are read, and what every change needs: events and counts.

use crate::ledger::{
    Borrowers, ConnectHistory, Effect, Effects, Grant, Idle, Job, MaintenanceTask, PoolTraits,
    Queue, Slots, Stage, Unlocked, bump,
};
use crate::rt::Time;
use crate::{Event, Interest, PoolConfig, PoolError, PoolHistograms, Status, Totals};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Ledger<C> {
    pub(super) config: PoolConfig,
    pub(super) traits: PoolTraits,
    pub(super) closed: bool,
    pub(super) suspended: bool,
    /// Whether returns have to take the slow path.
    pub(super) slow_returns: bool,
    /// True if no setting needs work on every acquire, so the fast path may be used.
    pub(super) fast_loans: bool,
    /// True if no setting needs work on every wait.
    pub(super) fast_waits: bool,
    /// How many nanoseconds after the last successful validation a ping is due: `pre_ping_idle`, or
    /// never.
    pub(super) ping_after: u64,
    pub(super) generation: u64,
    pub(super) unlocked: Arc<Unlocked>,
    /// Connections of a generation below this are dropped without closing.
    pub(super) hard_below: u64,
    pub(super) idle: Idle<C>,
    pub(super) waiters: Queue<Grant<C>>,
    /// Whether the pool is registered with the deadline thread.
    pub(super) registered: bool,
    pub(super) slots: Slots,
    pub(super) connects: ConnectHistory,
    pub(super) inbox: Vec<Job<C>>,
    pub(super) task: Option<MaintenanceTask>,
    pub(super) lost_a_runtime: bool,
    /// Counts the changes that `close` or `prewarm` may wait for.
    pub(super) changes: u64,
    pub(super) totals: Totals,
    pub(super) effects: Effects<C>,
    /// How long waits and loans took, if an observer asked for it.
    pub(super) histograms: Option<Arc<PoolHistograms>>,
    /// Of a pool that lends shares: then what is counted and measured are shares, and no leases.
    pub(super) borrowers: Option<Borrowers>,
    /// Whether there are observers, and whether one of them wants an event for every loan.
    observed: bool,
    routine_observed: bool,
    seq: u64,
}

impl<C: Send + 'static> Ledger<C> {
    pub(crate) fn new(config: PoolConfig, traits: PoolTraits, seed: u64) -> Self {
        Self {
            ping_after: config.ping_after(),
            connects: ConnectHistory::new(traits.first_connect_hooks, seed),
            config,
            traits,
            closed: false,
            suspended: false,
            slow_returns: true,
            fast_loans: false,
            fast_waits: false,
            generation: 0,
            unlocked: Arc::default(),
            hard_below: 0,
            idle: Idle::new(),
            waiters: Queue::new(),
            registered: false,
            slots: Slots::new(),
            inbox: Vec::new(),
            task: None,
            lost_a_runtime: false,
            changes: 0,
            totals: Totals::default(),
            effects: Effects::default(),
            histograms: None,
            borrowers: None,
            observed: false,
            routine_observed: false,
            seq: 0,
        }
    }

    /// Notes an observer. Returns the histograms if it wants them.
    pub(crate) fn observe(&mut self, interest: Interest) -> Option<&Arc<PoolHistograms>> {
        self.observed = true;
        self.routine_observed |= interest == Interest::Everything;
        let measured = interest == Interest::Measurements;
        measured.then(|| &*self.histograms.get_or_insert_default())
    }

    /// Whether loans are measured, or reported with their times: then the clock has to be exact.
    pub(crate) fn is_exact(&self) -> bool {
        self.routine_observed || self.histograms.is_some()
    }

    pub(crate) fn routine_observed(&self) -> bool {
        self.routine_observed
    }

    /// Numbers an event and reports it when the lock is released. Acquires and loans of members are
    /// not reported.
    #[inline]
    pub(crate) fn report(&mut self, event: Event) {
        if self.borrowers.is_none() || !event.is_of_a_loan() {
            self.report_of_share(event);
        }
    }

    /// Reports an acquire or a loan of a share.
    #[inline]
    pub(crate) fn report_of_share(&mut self, event: Event) {
        let wanted = if event.is_routine() { self.routine_observed } else { self.observed };
        if wanted {
            bump(&mut self.seq);
            self.effects.push(Effect::Report(self.seq, event));
        } else if event.error().is_some() {
            // This may be its last owner, and its destructor is user code.
            self.effects.discard(event);
        }
    }

    /// Records how long a connection that was lent at `since` was held.
    #[inline]
    pub(super) fn measure_use(&self, since: Time, now: Time) {
        if self.borrowers.is_none() {
            self.measure_share(since, now);
        }
    }

    /// The same of a share.
    #[inline]
    pub(super) fn measure_share(&self, since: Time, now: Time) {
        if let Some(histograms) = &self.histograms {
            histograms.hold().add(now.nanos_since(since));
        }
    }

    pub(super) fn note_took(&mut self, took: Duration) {
        self.connects.note_took(took);
        if let Some(histograms) = &self.histograms {
            histograms.connect().add(Time::at(took).nanos_since(Time::ZERO));
        }
    }

    /// Counts an acquire; its number orders arrivals.
    pub(crate) fn arrive(&mut self) -> u64 {
        if let Some(borrowers) = &mut self.borrowers {
            return borrowers.number_member();
        }
        self.count_acquire()
    }

    /// Counts an acquire of a connection or of a share.
    pub(crate) fn count_acquire(&mut self) -> u64 {
        bump(&mut self.totals.acquires);
        self.totals.acquires
    }

    pub(crate) fn config(&self) -> &PoolConfig {
        &self.config
    }

    pub(crate) fn traits(&self) -> &PoolTraits {
        &self.traits
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.borrowers.as_ref().map_or(self.waiters.len(), Borrowers::waiting)
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// How many slots are taken by something other than a lease. A member is lent while one of its
    /// shares is.
    pub(crate) fn pending(&self) -> u32 {
        let unshared = self.borrowers.as_ref().map_or(0, |_| self.slots.unshared());
        self.slots.used().saturating_sub(self.slots.count(Stage::InUse)).saturating_add(unshared)
    }

    pub(crate) fn histograms(&self) -> Option<&Arc<PoolHistograms>> {
        self.histograms.as_ref()
    }

    /// Counts and measures an acquire that has lent a connection. It began at `since`.
    #[inline]
    pub(super) fn count_success(&mut self, since: Time, now: Time) {
        if self.borrowers.is_none() {
            self.count_share(since, now);
        }
    }

    /// The same of a share.
    #[inline]
    pub(super) fn count_share(&mut self, since: Time, now: Time) {
        bump(&mut self.totals.succeeded);
        if let Some(histograms) = &self.histograms {
            histograms.wait().add(now.nanos_since(since));
        }
    }

    /// Counts an acquire that failed, or was cancelled.
    pub(super) fn count_failure(&mut self, error: Option<&PoolError>) {
        if self.borrowers.is_none() {
            self.count_share_failure(error);
        }
    }

    /// The same of a share.
    pub(super) fn count_share_failure(&mut self, error: Option<&PoolError>) {
        bump(match error {
            None => &mut self.totals.cancelled,
            Some(error) if error.is_timeout() => &mut self.totals.timed_out,
            Some(_) => &mut self.totals.failed,
        });
    }

    #[cfg(all(test, not(millpond_models)))]
    pub(crate) fn first_arrival(&self) -> Option<u64> {
        self.waiters.first_arrival()
    }

    #[cfg(all(test, not(millpond_models)))]
    pub(crate) fn pause(&self) -> crate::ledger::Pause {
        self.connects.pause
    }

    #[cfg(all(test, not(millpond_models)))]
    pub(crate) fn idle(&self) -> impl Iterator<Item = &crate::PooledConnection<C>> {
        self.idle.iter()
    }

    #[cfg(all(test, millpond_models))]
    pub(crate) fn register_deadlines(&mut self) {
        self.registered = true;
    }

    #[inline]
    pub(crate) fn take_effects(&mut self) -> Option<Effects<C>> {
        (!self.effects.is_empty()).then(|| mem::take(&mut self.effects))
    }

    /// When a connection was last known to be alive.
    fn last_success(&self) -> Option<Time> {
        let idle = self.idle.freshest().map(|held| held.inner.meta.validated_at);
        idle.max(self.slots.last_loan()).max(self.connects.last_connected)
    }

    pub(crate) fn status(&self, now: Time) -> Status {
        let taken_unlocked = self.unlocked.taken_unlocked.load(Ordering::Relaxed);
        let succeeded = self.totals.succeeded.saturating_add(taken_unlocked);
        // A member without lent shares counts as idle.
        let unshared = self.borrowers.as_ref().map_or(0, |_| self.slots.unshared());
        let oldest_waiter = match &self.borrowers {
            None => self.waiters.first().map(|(_, since)| since),
            Some(borrowers) => borrowers.oldest_waiter(),
        };
        let mut status = Status::default();
        (status.pool_size, status.max_overflow) = (self.config.pool_size, self.config.max_overflow);
        status.min_idle = self.floor().unwrap_or(0);
        status.open = self.slots.open();
        status.connecting = self.slots.count(Stage::Connecting);
        status.idle = self.slots.count(Stage::Idle).saturating_add(unshared);
        status.in_use = self.slots.count(Stage::InUse).saturating_sub(unshared);
        status.resetting = self.slots.count(Stage::Resetting);
        status.closing = self.slots.count(Stage::Closing);
        status.reserved = self.slots.count(Stage::Reserved);
        status.waiting = self.waiting();
        status.oldest_waiter = oldest_waiter.map(|since| now.since(since));
        status.failing_since = self.failing_for(now);
        status.last_success = self.last_success().map(|at| now.since(at));
        status.generation = self.generation;
        (status.suspended, status.closed) = (self.suspended, self.closed);
        status.totals = self.totals;
        status.totals.succeeded = succeeded;
        status
    }

    #[inline]
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.effects.extend(waker.map(Effect::Wake));
    }

    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Wakes `close` and `prewarm`, which may wait for this change.
    pub(crate) fn note_change(&mut self) {
        if self.closed || !self.connects.prewarm_targets.is_empty() {
            bump(&mut self.changes);
            self.effects.push(Effect::Changed(self.changes));
        }
    }

    /// Decides which fast paths may be used, and which generation may be lent without the lock.
    /// Must be called at every change of either, before waiters are woken.
    pub(crate) fn update_fast_paths(&mut self) {
        let config = &self.config;
        self.fast_loans = !self.closed
            && !self.suspended
            && config.min_idle.is_none()
            && config.report_after().is_none();
        self.slow_returns = !self.fast_loans
            || !self.traits.keeps
            || config.idle_timeout.is_some()
            || !config.overflow_linger.is_zero()
            || self.slots.has_suspects()
            || self.slots.used() > config.limit();
        self.fast_waits = self.histograms.is_none()
            && config.overflow_after.is_zero()
            && config.max_waiters.is_none();
        let lendable = if self.suspended { u64::MAX } else { self.generation };
        self.unlocked.lendable.store(lendable, Ordering::Release);
    }

    pub(crate) fn unlocked(&self) -> &Arc<Unlocked> {
        &self.unlocked
    }

    #[cfg(not(debug_assertions))]
    pub(crate) fn check(&self) {}

    /// The invariants, after every transition of a debug build.
    #[cfg(debug_assertions)]
    pub(crate) fn check(&self) {
        self.slots.check();
        debug_assert_eq!(
            self.slots.count(Stage::Idle) as usize,
            self.idle.len(),
            "idle connections are miscounted"
        );
        let idle_while_waiting = !self.suspended && !self.waiters.is_empty() && self.idle.len() > 0;
        debug_assert!(!idle_while_waiting, "a caller waits while a connection is idle");
    }
}
