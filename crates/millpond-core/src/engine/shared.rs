//! What the pool's handles, its leases and its maintenance task share, and the one way to change
//! the ledger.

use crate::config::PoolConfig;
use crate::engine::parts::PoolParts;
use crate::event::{CloseReason, Event, EventContext, Interest, Observer, SharedError, share};
use crate::hooks::{HookLists, HookPoint};
use crate::info::ConnectionInfo;
use crate::ledger::{Armed, Effect, Effects, LeaseMeta, Ledger, PooledConnection, Unlocked};
use crate::manager::{ErrorClass, Manager};
use crate::rt::deadline_thread::{self, ARM_AFTER};
use crate::rt::lock::Mutex;
use crate::rt::panics::{calmly, drop_calmly};
use crate::rt::time::Time;
use crate::rt::{Clock, Handle, Signal, Timer};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

pub(crate) struct Shared<M: Manager> {
    /// Nothing is awaited, woken, dropped or called that is not ours while it is locked. It is
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
    pub(crate) home: Option<Handle>,
    /// Whether a checkout has anything to do for hooks.
    pub(crate) checkout_hooks: bool,
    pub(crate) checkin_hooks: bool,
    /// Whether a loan concerns nobody but its borrower: no hooks look at it, and no observer sees
    /// it.
    pub(crate) plain_checkout: bool,
    /// The same of a return.
    pub(crate) plain_checkin: bool,
    /// After how many nanoseconds without a sign of life a ping is due.
    pub(crate) ping_after: u64,
    /// What callers and waiters read and count without the lock.
    pub(crate) unlocked: Arc<Unlocked>,
    observers: Vec<Watching>,
    /// Whether an observer wants an event for every lease.
    routine_observed: bool,
    /// Whether loans are measured, or told with their times: then the clock has to be exact.
    exact: bool,
    /// Whether what is reported as acquired and returned are shares, and no leases.
    multiplexed: bool,
}

/// An observer, and whether it wants an event for every lease.
struct Watching {
    observer: Box<dyn Observer>,
    routine: bool,
}

impl<M: Manager> Shared<M> {
    pub(crate) fn new(parts: PoolParts<M>, kind: &'static str, keeps: bool) -> Self {
        let PoolParts { manager, config, name, hooks, observers, runtime } = parts;
        let first_connect_hooks = hooks.has(HookPoint::FirstConnect);
        let mut ledger = Ledger::new(config.clone(), keeps, first_connect_hooks, fastrand::u64(..));
        let observers: Vec<_> =
            observers.into_iter().map(|observer| watching(observer, &name, &mut ledger)).collect();
        let routine_observed = observers.iter().any(|watching| watching.routine);
        Self {
            exact: routine_observed || ledger.histograms().is_some(),
            manager,
            checkout_hooks: hooks.has(HookPoint::Checkout),
            checkin_hooks: hooks.has(HookPoint::Checkin),
            plain_checkout: !routine_observed && !hooks.has(HookPoint::Checkout),
            plain_checkin: !routine_observed && !hooks.has(HookPoint::Checkin),
            ping_after: config.ping_after(),
            unlocked: Arc::clone(ledger.unlocked()),
            ledger: Mutex::new(ledger),
            hooks,
            name,
            config,
            kind,
            clock: Clock::start(),
            opens_from: Signal::new(),
            home: runtime,
            observers,
            routine_observed,
            multiplexed: false,
        }
    }

    /// From now on what borrowers get are shares of the connections that are lent.
    pub(crate) fn multiplex(&mut self) {
        self.multiplexed = true;
        // A member is lent for long, so that a fast path would gain nothing.
        (self.plain_checkout, self.plain_checkin) = (false, false);
        self.change(|ledger, _| ledger.multiplex());
    }

    /// What the pool is called in errors: its name and its kind.
    pub(crate) fn names(&self) -> (&Arc<str>, &'static str) {
        (&self.name, self.kind)
    }

    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Looks at the ledger, under its lock.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Ledger<M::Connection>) -> R) -> R {
        look(&self.ledger.lock())
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
                && let Err(message) = calmly(|| wake.wake())
            {
                self.tell_panic("waker", message);
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
        effects.sort_by_key(|effect| !matches!(effect, Effect::Wake(_)));
        for effect in effects {
            let (place, outcome) = match effect {
                Effect::Wake(waker) => ("waker", calmly(|| waker.wake())),
                Effect::Drop(held, reason) => {
                    self.drop_now(held, reason);
                    continue;
                }
                Effect::CutOff(validation) => ("validation", drop_calmly(validation)),
                Effect::Forget(error) => ("error", drop_calmly(error)),
                Effect::ForgetRefusal(error) => ("error", drop_calmly(error)),
            };
            if let Err(message) = outcome {
                self.tell_panic(place, message);
            }
        }
    }

    /// Whether a connection that a waiter was granted may be lent as it is. Looks without the lock:
    /// what may not be lent any more was made so before.
    #[inline]
    pub(crate) fn is_fresh(&self, tag: &LeaseMeta, now: Time) -> bool {
        tag.is_fresh(self.unlocked.lendable.load(Ordering::Acquire), self.ping_after, now)
    }

    /// Whether a connection is of the generation that is lent and not too old. Looks without the
    /// lock, as [`is_fresh`](Self::is_fresh) does.
    pub(crate) fn is_young(&self, tag: &LeaseMeta, now: Time) -> bool {
        tag.is_fresh(self.unlocked.lendable.load(Ordering::Acquire), u64::MAX, now)
    }

    /// The time of a loan, a wait or a return: exact if it is measured or told.
    #[inline]
    pub(crate) fn glance(&self) -> Time {
        if self.exact { self.now() } else { self.clock.coarse() }
    }

    /// Whether loans are measured, or told with their times.
    pub(crate) fn is_exact(&self) -> bool {
        self.exact
    }

    /// Drops a connection that nobody is left to close properly; then its place is free.
    fn drop_now(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        let tag = held.inner.tag;
        let error = drop_calmly(held).err().map(|message| share(message.into()));
        self.closed(&tag, reason, error);
    }

    /// A connection is closed or dropped: frees its slot.
    pub(crate) fn closed(&self, tag: &LeaseMeta, reason: CloseReason, error: Option<SharedError>) {
        self.change_and_tell(|ledger, now| {
            ledger.gone(tag.slot, now);
            Some(Event::Closed { id: tag.id, reason, error })
        });
    }

    /// Changes the ledger, and tells the observers of the event that this is, if it is one.
    pub(crate) fn change_and_tell(
        &self,
        change: impl FnOnce(&mut Ledger<M::Connection>, Time) -> Option<Event>,
    ) {
        let (event, seq) = self.change(|ledger, now| {
            let event = change(ledger, now);
            let seq = ledger.seq_if(event.is_some() && self.observed());
            (event, seq)
        });
        if let (Some(event), Some(seq)) = (event, seq) {
            self.tell_at(seq, &event);
        }
    }

    /// Tells the observers, with the event's place in the order of things. For events that do not
    /// belong to one change of the ledger; those that do take their number there.
    pub(crate) fn tell(&self, event: impl FnOnce() -> Event) {
        if self.observed() {
            let seq = self.change(|ledger, _| ledger.next_seq());
            self.tell_at(seq, &event());
        }
    }

    /// Tells the observers of an acquire or a loan of a share.
    pub(crate) fn tell_of_share(&self, event: impl FnOnce() -> Event) {
        if self.observed() {
            let seq = self.change(|ledger, _| ledger.next_seq());
            self.tell_all(seq, &event());
        }
    }

    pub(crate) fn observed(&self) -> bool {
        !self.observers.is_empty()
    }

    /// Whether any observer wants an event for a lease that goes well.
    pub(crate) fn routine_observed(&self) -> bool {
        self.routine_observed
    }

    /// Tells the observers of an event whose place was given under the lock, unless it is about an
    /// acquire or a loan of a member.
    pub(crate) fn tell_at(&self, seq: u64, event: &Event) {
        if !self.multiplexed || !event.is_of_a_loan() {
            self.tell_all(seq, event);
        }
    }

    pub(crate) fn tell_all(&self, seq: u64, event: &Event) {
        let context = EventContext { pool: &self.name, seq };
        for Watching { observer, .. } in
            self.observers.iter().filter(|watching| watching.routine || !event.is_routine())
        {
            if let Err(message) = calmly(|| observer.observe(event, &context)) {
                tracing::warn!(pool = &*self.name, message, "an observer panicked");
            }
        }
    }

    /// Tells of a panic in code that is not ours, in the log too.
    pub(crate) fn tell_panic(&self, place: &'static str, message: String) {
        tracing::warn!(pool = &*self.name, place, message, "user code panicked");
        self.tell(|| Event::Panicked { place, message });
    }

    /// What the manager makes of an error.
    pub(crate) fn classify(&self, error: &M::Error) -> ErrorClass {
        match calmly(|| self.manager.classify(error)) {
            Ok(class) => class,
            Err(message) => {
                self.tell_panic("classify", message);
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
        self.clock.timer(deadline, || self.home())
    }

    /// What is known of a connection.
    pub(crate) fn describe(&self, tag: &LeaseMeta) -> ConnectionInfo {
        ConnectionInfo {
            pool: Arc::clone(&self.name),
            id: tag.id,
            generation: tag.generation,
            uses: tag.uses,
            age: self.now().since(tag.created),
            idle: Duration::from_nanos(tag.idled),
        }
    }

    /// Has the deadline thread look after the pool's waiters. `false` if they have to set timers
    /// from the start.
    pub(crate) fn enlist(self: &Arc<Self>) -> bool {
        self.clock.look_for_pause();
        let weak = Arc::downgrade(self);
        let round = move || {
            let Some(shared) = weak.upgrade() else { return false };
            let goes_on = shared.arm(ARM_AFTER);
            if let Some(shared) = Arc::into_inner(shared) {
                // The pool has gone meanwhile. Its connections' destructors must not hold the
                // thread up.
                thread::spawn(move || drop(shared));
            }
            goes_on
        };
        let watched = !self.clock.is_paused() && deadline_thread::enlist(Box::new(round));
        if !watched {
            // Others may count on the thread already: from now on all set timers.
            self.arm(Duration::ZERO);
        }
        watched
    }

    /// Has those who have waited for so long watch their own deadlines. Whether there are others,
    /// who have not.
    fn arm(&self, waited: Duration) -> bool {
        loop {
            match self.change(|ledger, now| ledger.arm(now.before(waited), now)) {
                Armed::All => return false,
                Armed::Due => return true,
                Armed::Enough => {}
            }
        }
    }

    /// Ends a connection through the ledger.
    pub(crate) fn retire(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        self.change(|ledger, now| ledger.retire(held, reason, now));
    }

    /// Closes the pool: the first half of `close`, and all of it when the last handle is dropped.
    pub(crate) fn begin_close(&self) {
        let closing = self.change(|ledger, now| ledger.close(now).then(|| ledger.next_seq()));
        self.opens_from.raise(u64::MAX);
        if let Some(seq) = closing {
            self.tell_at(seq, &Event::Closing);
        }
    }

    /// Makes everything opened so far out of date.
    pub(crate) fn invalidate_all(&self, hard: bool) {
        let (generation, seq) =
            self.change(|ledger, now| (ledger.invalidate_all(hard, now), ledger.next_seq()));
        self.opens_from.raise(generation);
        self.tell_at(seq, &Event::Invalidated { generation });
    }
}

/// Asks an observer what it wants to observe, and has leases measured if it wants that.
fn watching<C: Send + 'static>(
    observer: Box<dyn Observer>,
    pool: &str,
    ledger: &mut Ledger<C>,
) -> Watching {
    let asked = calmly(|| {
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
    Watching { observer, routine }
}

impl<M: Manager> Drop for Shared<M> {
    fn drop(&mut self) {
        // The maintenance task sleeps without holding us: it has to see that there is nothing left
        // to keep.
        if let Some(task) = self.change(Ledger::maintenance_ended) {
            task.wake();
        }
        if let Some(histograms) = self.look(|ledger| ledger.histograms().cloned()) {
            histograms.end();
        }
    }
}

impl<M: Manager> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
