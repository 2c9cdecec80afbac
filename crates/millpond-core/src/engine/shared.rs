//! What the pool's handles, its leases and its maintenance task share, and the one way to change
//! the ledger.

use crate::engine::PoolParts;
use crate::event::share;
use crate::hooks::HookLists;
use crate::ledger::{Effect, Effects, LeaseMeta, Ledger, PooledConnection, TimersSet, Unlocked};
use crate::rt::deadline_thread;
use crate::rt::lock::Mutex;
use crate::rt::{
    Clock, Handle, Signal, TIMER_AFTER, Time, Timer, catch_panic, drop_catching_panic,
};
use crate::{
    CloseReason, ConnectionInfo, ErrorClass, Event, EventContext, HookPoint, Interest, Manager,
    Observer, PoolConfig, SharedError,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

pub(crate) struct Shared<M: Manager> {
    /// While it is locked, nothing is awaited, and no user code is called, woken or dropped. It is
    /// changed by [`change_at`](Shared::change_at) alone.
    ledger: Mutex<Ledger<M::Connection>>,
    pub(crate) manager: M,
    pub(crate) hooks: HookLists<M::Connection>,
    pub(crate) name: Arc<str>,
    /// The settings as built; the sizes that hold now are the ledger's.
    pub(crate) config: PoolConfig,
    /// `QueuePool` or `NullPool`, as error messages name it.
    pub(crate) kind: &'static str,
    pub(crate) clock: Clock,
    /// The oldest generation whose connections may still be opened; above all of them once the pool
    /// is closed.
    pub(crate) opens_from: Signal,
    /// The number of the last change that `close` and `prewarm` have to look at.
    pub(crate) changes: Signal,
    pub(crate) runtime: Option<Handle>,
    /// Whether a checkout has anything to do for hooks.
    pub(crate) checkout_hooks: bool,
    pub(crate) checkin_hooks: bool,
    /// Whether a loan needs neither hooks nor events, so the fast path may be used.
    pub(crate) fast_checkout: bool,
    /// The same of a return.
    pub(crate) fast_checkin: bool,
    /// How many nanoseconds after the last successful validation a ping is due.
    pub(crate) ping_after: u64,
    /// What callers and waiters read and count without the lock.
    pub(crate) unlocked: Arc<Unlocked>,
    observers: Vec<Registered>,
    /// Whether an observer wants an event for every lease.
    routine_observed: bool,
    /// Whether loans are measured, or reported with their times: then the clock has to be exact.
    exact: bool,
    /// Whether what is reported as acquired and returned are shares, and no leases.
    multiplexed: bool,
}

/// An observer, and whether it wants an event for every lease.
struct Registered {
    observer: Box<dyn Observer>,
    routine: bool,
}

impl<M: Manager> Shared<M> {
    pub(crate) fn new(parts: PoolParts<M>, kind: &'static str, keeps: bool) -> Self {
        let PoolParts { manager, config, name, hooks, observers, runtime } = parts;
        let first_connect_hooks = hooks.has(HookPoint::FirstConnect);
        let mut ledger = Ledger::new(config.clone(), keeps, first_connect_hooks, fastrand::u64(..));
        let observers: Vec<_> = observers
            .into_iter()
            .map(|observer| register_observer(observer, &name, &mut ledger))
            .collect();
        let routine_observed = observers.iter().any(|registered| registered.routine);
        Self {
            exact: routine_observed || ledger.histograms().is_some(),
            manager,
            checkout_hooks: hooks.has(HookPoint::Checkout),
            checkin_hooks: hooks.has(HookPoint::Checkin),
            fast_checkout: !routine_observed && !hooks.has(HookPoint::Checkout),
            fast_checkin: !routine_observed && !hooks.has(HookPoint::Checkin),
            ping_after: config.ping_after(),
            unlocked: Arc::clone(ledger.unlocked()),
            ledger: Mutex::new(ledger),
            hooks,
            name,
            config,
            kind,
            clock: Clock::start(),
            opens_from: Signal::default(),
            changes: Signal::default(),
            runtime,
            observers,
            routine_observed,
            multiplexed: false,
        }
    }

    /// From now on what borrowers get are shares of the connections that are lent.
    pub(crate) fn multiplex(&mut self) {
        self.multiplexed = true;
        // A member is lent for long, so that a fast path would gain nothing.
        (self.fast_checkout, self.fast_checkin) = (false, false);
        self.change(|ledger, _| ledger.multiplex());
    }

    /// What the pool is called in errors: its name and its kind.
    pub(crate) fn names(&self) -> (&Arc<str>, &'static str) {
        (&self.name, self.kind)
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Reads the ledger, under its lock.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Ledger<M::Connection>) -> R) -> R {
        read(&self.ledger.lock())
    }

    /// Changes the ledger, and runs the effects once its lock is released.
    pub(crate) fn change<R>(
        &self,
        change: impl FnOnce(&mut Ledger<M::Connection>, Time) -> R,
    ) -> R {
        self.change_at(self.now(), change)
    }

    /// The same at a time that was read elsewhere, or that need not be exact: the only way to
    /// change the ledger.
    #[inline]
    pub(crate) fn change_at<R>(
        &self,
        now: Time,
        change: impl FnOnce(&mut Ledger<M::Connection>, Time) -> R,
    ) -> R {
        let mut ledger = self.ledger.lock();
        let result = change(&mut ledger, now);
        let effects = ledger.take_effects();
        drop(ledger);
        // One wake is the rule, and is not moved about with the rest.
        if let Some(Effects { wake, others }) = effects {
            if let Some(wake) = wake
                && let Err(message) = catch_panic(|| wake.wake())
            {
                self.report_panic("waker", message);
            }
            if !others.is_empty() {
                self.run(others);
            }
        }
        result
    }

    /// Runs the effects of a change. A panic in one does not keep the others from being run.
    #[cold]
    fn run(&self, mut effects: Vec<Effect<M::Connection>>) {
        // Users' destructors may block, so waiters are woken before.
        effects.sort_by_key(|effect| !matches!(effect, Effect::Wake(_) | Effect::Changed(_)));
        for effect in effects {
            let (callback, outcome) = match effect {
                Effect::Wake(waker) => ("waker", catch_panic(|| waker.wake())),
                Effect::Changed(number) => ("waker", catch_panic(|| self.changes.raise(number))),
                Effect::Drop(held, reason) => {
                    self.drop_now(held, reason);
                    continue;
                }
                Effect::CutOff(validation) => ("validation", drop_catching_panic(validation)),
                Effect::Forget(error) => ("error", drop_catching_panic(error)),
                Effect::ForgetRefusal(error) => ("error", drop_catching_panic(error)),
            };
            if let Err(message) = outcome {
                self.report_panic(callback, message);
            }
        }
    }

    /// Whether a connection that a waiter was granted may be lent as it is. Looks without the lock:
    /// what may not be lent any more was made so before.
    #[inline]
    pub(crate) fn is_fresh(&self, meta: &LeaseMeta, now: Time) -> bool {
        meta.is_fresh(self.unlocked.lendable.load(Ordering::Acquire), self.ping_after, now)
    }

    /// Whether a connection is of the generation that is lent and not too old. Looks without the
    /// lock, as [`is_fresh`](Self::is_fresh) does.
    pub(crate) fn is_young(&self, meta: &LeaseMeta, now: Time) -> bool {
        meta.is_fresh(self.unlocked.lendable.load(Ordering::Acquire), u64::MAX, now)
    }

    /// The time of a loan, a wait or a return: exact if it is measured or reported.
    #[inline]
    pub(crate) fn loan_time(&self) -> Time {
        if self.exact { self.now() } else { self.clock.coarse() }
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Drops a connection that no maintenance task is left to close; then its slot is free.
    fn drop_now(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        let meta = held.inner.meta;
        let error = drop_catching_panic(held).err().map(|message| share(message.into()));
        self.closed(&meta, reason, error);
    }

    /// A connection is closed or dropped: frees its slot.
    pub(crate) fn closed(&self, meta: &LeaseMeta, reason: CloseReason, error: Option<SharedError>) {
        self.change_and_report(|ledger, now| {
            ledger.connection_closed(meta.slot, now);
            Some(Event::Closed { id: meta.id, reason, error })
        });
    }

    /// Changes the ledger, and reports the event that the change returns.
    pub(crate) fn change_and_report(
        &self,
        change: impl FnOnce(&mut Ledger<M::Connection>, Time) -> Option<Event>,
    ) {
        let (event, seq) = self.change(|ledger, now| {
            let event = change(ledger, now);
            let seq = ledger.seq_if(event.is_some() && self.observed());
            (event, seq)
        });
        if let (Some(event), Some(seq)) = (event, seq) {
            self.report_at(seq, &event);
        }
    }

    /// Reports an event that belongs to no change of the ledger; others take their sequence number
    /// in the change.
    pub(crate) fn report(&self, event: impl FnOnce() -> Event) {
        if self.observed() {
            let seq = self.change(|ledger, _| ledger.next_seq());
            self.report_at(seq, &event());
        }
    }

    /// Reports an acquire or a loan of a share.
    pub(crate) fn report_of_share(&self, event: impl FnOnce() -> Event) {
        if self.observed() {
            let seq = self.change(|ledger, _| ledger.next_seq());
            self.report_all(seq, &event());
        }
    }

    pub(crate) fn observed(&self) -> bool {
        !self.observers.is_empty()
    }

    pub(crate) fn routine_observed(&self) -> bool {
        self.routine_observed
    }

    /// Reports an event whose sequence number was taken under the lock, unless it is about an
    /// acquire or a loan of a member.
    pub(crate) fn report_at(&self, seq: u64, event: &Event) {
        if !self.multiplexed || !event.is_of_a_loan() {
            self.report_all(seq, event);
        }
    }

    pub(crate) fn report_all(&self, seq: u64, event: &Event) {
        let context = EventContext { pool: &self.name, seq };
        for Registered { observer, .. } in
            self.observers.iter().filter(|registered| registered.routine || !event.is_routine())
        {
            if let Err(message) = catch_panic(|| observer.observe(event, &context)) {
                tracing::warn!(pool = &*self.name, message, "an observer panicked");
            }
        }
    }

    /// Reports a panic of user code, in the log too.
    pub(crate) fn report_panic(&self, callback: &'static str, message: String) {
        tracing::warn!(pool = &*self.name, callback, message, "user code panicked");
        self.report(|| Event::Panicked { callback, message });
    }

    pub(crate) fn classify(&self, error: &M::Error) -> ErrorClass {
        match catch_panic(|| self.manager.classify(error)) {
            Ok(class) => class,
            Err(message) => {
                self.report_panic("classify", message);
                ErrorClass::Transient
            }
        }
    }

    /// What the manager makes of an error that may be its own.
    pub(crate) fn classify_shared(&self, error: &SharedError) -> ErrorClass {
        error.downcast_ref::<M::Error>().map_or(ErrorClass::Transient, |error| self.classify(error))
    }

    /// A timer on the caller's runtime, else on the pool's.
    pub(crate) fn timer(&self, deadline: Time) -> Option<Timer> {
        self.clock.timer(deadline, || self.runtime())
    }

    pub(crate) fn describe(&self, meta: &LeaseMeta) -> ConnectionInfo {
        ConnectionInfo {
            pool: Arc::clone(&self.name),
            id: meta.id,
            generation: meta.generation,
            uses: meta.uses,
            age: self.now().since(meta.created),
            idle: Duration::from_nanos(meta.idled),
        }
    }

    /// Registers the pool with the deadline thread. `false` if waiters must set timers from the
    /// start.
    pub(crate) fn register(self: &Arc<Self>) -> bool {
        self.clock.detect_pause();
        let weak = Arc::downgrade(self);
        let round = move || {
            let Some(shared) = weak.upgrade() else { return false };
            let goes_on = shared.set_timers(TIMER_AFTER);
            if let Some(shared) = Arc::into_inner(shared) {
                // The pool has gone meanwhile. Its connections' destructors must not hold the
                // thread up.
                thread::spawn(move || drop(shared));
            }
            goes_on
        };
        let registered = !self.clock.is_paused() && deadline_thread::register(Box::new(round));
        if !registered {
            // Others may rely on the thread already: from now on all set timers.
            self.set_timers(Duration::ZERO);
        }
        registered
    }

    /// Wakes waiters older than `waited` so that they set a timer; returns whether younger ones
    /// remain.
    fn set_timers(&self, waited: Duration) -> bool {
        loop {
            match self.change(|ledger, now| ledger.set_timers(now.before(waited), now)) {
                TimersSet::All => return false,
                TimersSet::Due => return true,
                TimersSet::Enough => {}
            }
        }
    }

    pub(crate) fn retire(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        self.change(|ledger, now| ledger.retire(held, reason, now));
    }

    /// Closes the pool: the first half of `close`, and all of it when the last handle is dropped.
    pub(crate) fn begin_close(&self) {
        let closing = self.change(|ledger, now| ledger.close(now).then(|| ledger.next_seq()));
        self.opens_from.raise(u64::MAX);
        if let Some(seq) = closing {
            self.report_at(seq, &Event::Closing);
        }
    }

    pub(crate) fn invalidate_all(&self, hard: bool) {
        let (generation, seq) =
            self.change(|ledger, now| (ledger.invalidate_all(hard, now), ledger.next_seq()));
        self.opens_from.raise(generation);
        self.report_at(seq, &Event::Invalidated { generation });
    }
}

/// Asks an observer what it wants to observe, and has leases measured if it wants that.
fn register_observer<C: Send + 'static>(
    observer: Box<dyn Observer>,
    pool: &str,
    ledger: &mut Ledger<C>,
) -> Registered {
    let asked = catch_panic(|| {
        let interest = observer.interest();
        if interest == Interest::Measurements {
            observer.attach_histograms(pool, Arc::clone(ledger.measure()));
        }
        interest == Interest::Everything
    });
    let routine = asked.unwrap_or_else(|message| {
        tracing::warn!(pool, message, "an observer panicked");
        true
    });
    Registered { observer, routine }
}

impl<M: Manager> Drop for Shared<M> {
    fn drop(&mut self) {
        // The maintenance task sleeps without holding the pool: it must see that the pool is gone.
        if let Some(task) = self.change(Ledger::maintenance_ended) {
            task.wake();
        }
        if let Some(histograms) = self.read(|ledger| ledger.histograms().cloned()) {
            histograms.end();
        }
    }
}

opaque_debug!([M: Manager] Shared<M>, "Shared", |it| { name: it.name, kind: it.kind });
