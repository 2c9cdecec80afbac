//! The state that the pool's handles, its leases and its maintenance task share, and the only way
//! to change the ledger.

use crate::engine::Held;
use crate::error::share;
use crate::hooks::HookLists;
use crate::ledger::{Effect, Effects, LeaseMeta, Ledger, PoolTraits, TimersSet, Unlocked};
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

/// What a pool is made of: the manager, settings, name, hooks and observers that a
/// [`Builder`](crate::Builder) was given.
///
/// A custom pool passes them on: to [`Buildable::assemble`](crate::Buildable::assemble) of a pool
/// that it wraps, or to `Multiplexer::new` of the crate `millpond-shared`.
pub struct PoolParts<M: Manager> {
    pub(crate) manager: M,
    pub(crate) config: PoolConfig,
    pub(crate) name: Arc<str>,
    pub(crate) hooks: HookLists<M::Connection>,
    pub(crate) observers: Vec<Box<dyn Observer>>,
    pub(crate) runtime: Option<Handle>,
}

impl<M: Manager> PoolParts<M> {
    /// Returns the settings, which were found to be in range.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }
}

opaque_debug!([M: Manager] PoolParts<M>, "PoolParts", |it| { name: it.name, config: it.config });

pub(crate) struct Shared<M: Manager> {
    /// While it is locked, nothing is awaited, and no user code is called, woken or dropped. It is
    /// changed by [`change_at`](Shared::change_at) alone.
    ledger: Mutex<Ledger<M::Connection>>,
    pub(crate) manager: M,
    pub(crate) hooks: HookLists<M::Connection>,
    pub(crate) name: Arc<str>,
    /// The settings as built; the sizes that hold now are the ledger's.
    pub(crate) config: PoolConfig,
    pub(crate) clock: Clock,
    /// The oldest generation whose connections may still be opened; above all of them once the pool
    /// is closed.
    pub(crate) opens_from: Signal,
    /// Raised by each change that `close` or `prewarm` may wait for.
    pub(crate) changes: Signal,
    pub(crate) runtime: Option<Handle>,
    /// Whether a loan needs neither hooks nor events, so the fast path may be used.
    pub(crate) fast_checkout: bool,
    /// The same of a return.
    pub(crate) fast_checkin: bool,
    /// How many nanoseconds after the last successful validation a ping is due.
    pub(crate) ping_after: u64,
    /// What callers and waiters read and count without the lock.
    pub(crate) unlocked: Arc<Unlocked>,
    observers: Vec<Registered>,
    /// Whether loans are measured, or reported with their times: then the clock has to be exact.
    pub(crate) exact: bool,
}

/// An observer, and whether it wants an event for every lease.
struct Registered {
    observer: Box<dyn Observer>,
    routine: bool,
}

impl<M: Manager> Shared<M> {
    pub(crate) fn new(parts: PoolParts<M>, kind: &'static str, keeps: bool) -> Self {
        let PoolParts { manager, config, name, hooks, observers, runtime } = parts;
        let traits = PoolTraits {
            name: Arc::clone(&name),
            kind,
            keeps,
            first_connect_hooks: hooks.has(HookPoint::FirstConnect),
            checkout_hooks: hooks.has(HookPoint::Checkout),
            checkin_hooks: hooks.has(HookPoint::Checkin),
        };
        let mut ledger = Ledger::new(config.clone(), traits, fastrand::u64(..));
        let observers: Vec<_> = observers
            .into_iter()
            .map(|observer| register_observer(observer, &name, &mut ledger))
            .collect();
        Self {
            exact: ledger.is_exact(),
            manager,
            fast_checkout: !ledger.routine_observed() && !hooks.has(HookPoint::Checkout),
            fast_checkin: !ledger.routine_observed() && !hooks.has(HookPoint::Checkin),
            ping_after: config.ping_after(),
            unlocked: Arc::clone(ledger.unlocked()),
            ledger: Mutex::new(ledger),
            hooks,
            name,
            config,
            clock: Clock::start(),
            opens_from: Signal::default(),
            changes: Signal::default(),
            runtime,
            observers,
        }
    }

    /// From now on what borrowers get are shares of the connections that are lent.
    pub(crate) fn multiplex(&mut self) {
        // A member is lent for long, so that a fast path would gain nothing.
        (self.fast_checkout, self.fast_checkin) = (false, false);
        self.change(|ledger, _| ledger.multiplex());
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

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

    /// The same, at a time that was read elsewhere or need not be exact. The only way to change the
    /// ledger.
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
        if let Some(effects) = effects {
            self.perform(effects);
        }
        result
    }

    /// Performs the effects of a change. A panic in one does not keep the others from it.
    fn perform(&self, effects: Effects<M::Connection>) {
        if effects.others.is_empty() {
            // Nearly all changes have at most one waker and one event.
            if let Some(waker) = effects.wake {
                self.catching("waker", || waker.wake());
            }
            if let Some((seq, event)) = effects.report {
                self.deliver(seq, &event);
            }
            return;
        }
        for effect in effects.in_order() {
            match effect {
                Effect::Wake(waker) => self.catching("waker", || waker.wake()),
                Effect::Changed(number) => self.catching("waker", || self.changes.raise(number)),
                Effect::Report(seq, event) => self.deliver(seq, &event),
                Effect::Drop(held, reason) => self.drop_now(held, reason),
                Effect::Discard(value) => self.catching("destructor", || drop(value)),
            }
        }
    }

    /// Calls user code; a panic in it is reported.
    pub(crate) fn catching<T>(&self, callback: &'static str, call: impl FnOnce() -> T) {
        if let Err(message) = catch_panic(call) {
            self.report_panic(callback, message);
        }
    }

    /// Whether a connection that a waiter was granted may be lent as it is. No lock is needed: a
    /// new generation is visible before waiters are woken.
    #[inline]
    pub(crate) fn is_fresh(&self, meta: &LeaseMeta, now: Time) -> bool {
        meta.is_fresh(self.unlocked.lendable.load(Ordering::Acquire), self.ping_after, now)
    }

    /// Whether a connection is of the present generation and not too old, without the lock.
    pub(crate) fn is_young(&self, meta: &LeaseMeta, now: Time) -> bool {
        meta.is_fresh(self.unlocked.lendable.load(Ordering::Acquire), u64::MAX, now)
    }

    /// The time of a loan, a wait or a return: exact if it is measured or reported.
    #[inline]
    pub(crate) fn loan_time(&self) -> Time {
        if self.exact { self.now() } else { self.clock.coarse() }
    }

    fn drop_now(&self, held: Held<M>, reason: CloseReason) {
        let meta = held.inner.meta;
        let error = drop_catching_panic(held).err().map(|message| share(message.into()));
        self.closed(&meta, reason, error);
    }

    /// Frees the slot of a connection that is closed or dropped.
    pub(crate) fn closed(&self, meta: &LeaseMeta, reason: CloseReason, error: Option<SharedError>) {
        self.change(|ledger, now| ledger.connection_closed(meta, reason, error, now));
    }

    /// Reports an event that belongs to no change of the ledger.
    pub(crate) fn report(&self, event: impl FnOnce() -> Event) {
        if !self.observers.is_empty() {
            self.change(|ledger, _| ledger.report(event()));
        }
    }

    fn deliver(&self, seq: u64, event: &Event) {
        let context = EventContext::new(&self.name, seq);
        for Registered { observer, .. } in
            self.observers.iter().filter(|registered| registered.routine || !event.is_routine())
        {
            if let Err(message) = catch_panic(|| observer.observe(event, &context)) {
                tracing::warn!(pool = &*self.name, message, "an observer panicked");
            }
        }
    }

    /// Reports a panic of user code, and logs it.
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

    /// Classifies an error that may be the manager's.
    pub(crate) fn classify_shared(&self, error: &SharedError) -> ErrorClass {
        error.downcast_ref::<M::Error>().map_or(ErrorClass::Transient, |error| self.classify(error))
    }

    /// A timer on the caller's runtime, else on the pool's.
    pub(crate) fn timer(&self, deadline: Time) -> Option<Timer> {
        self.clock.timer(deadline, || self.runtime())
    }

    pub(crate) fn describe(&self, meta: &LeaseMeta) -> ConnectionInfo {
        let mut info = ConnectionInfo::new(Arc::clone(&self.name), meta.id, meta.generation);
        (info.uses, info.age) = (meta.uses, self.now().since(meta.created));
        info.idle = Duration::from_nanos(meta.idled);
        info
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
                // This was the last handle. Destructors of connections must not block the thread.
                thread::spawn(move || drop(shared));
            }
            goes_on
        };
        let registered = !self.clock.is_paused() && deadline_thread::register(Box::new(round));
        if !registered {
            // Other waiters may rely on the thread already: now all of them set timers.
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

    pub(crate) fn retire(&self, held: Held<M>, reason: CloseReason) {
        self.change(|ledger, now| ledger.retire(held, reason, now));
    }

    /// Closes the pool: the first half of `close`, and all of it when the last handle is dropped.
    pub(crate) fn begin_close(&self) {
        self.change(Ledger::close);
        self.opens_from.raise(u64::MAX);
    }

    pub(crate) fn invalidate_all(&self, hard: bool) {
        let generation = self.change(|ledger, now| ledger.invalidate_all(hard, now));
        self.opens_from.raise(generation);
    }
}

/// Asks an observer for its interest, and has leases measured if it wants measurements.
fn register_observer<C: Send + 'static>(
    observer: Box<dyn Observer>,
    pool: &str,
    ledger: &mut Ledger<C>,
) -> Registered {
    let interest = catch_panic(|| observer.interest()).unwrap_or_else(|message| {
        tracing::warn!(pool, message, "an observer panicked");
        Interest::Everything
    });
    if let Some(histograms) = ledger.observe(interest)
        && let Err(message) =
            catch_panic(|| observer.attach_histograms(pool, Arc::clone(histograms)))
    {
        tracing::warn!(pool, message, "an observer panicked");
    }
    Registered { observer, routine: interest == Interest::Everything }
}

impl<M: Manager> Drop for Shared<M> {
    fn drop(&mut self) {
        // The maintenance task sleeps without holding the pool: it must notice that it is gone.
        if let Some(task) = self.change(Ledger::maintenance_ended) {
            task.wake();
        }
        if let Some(histograms) = self.read(|ledger| ledger.histograms().cloned()) {
            histograms.end();
        }
    }
}

opaque_debug!([M: Manager] Shared<M>, "Shared", |it| { name: it.name });
