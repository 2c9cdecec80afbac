//! `PoolMetrics`: the observer that pools are given, and who knows what there is to tell.

use crate::names::*;
use crate::tally::Tally;
use crate::teller;
use metrics::gauge;
use millpond_core::{Event, Interest, Manager, Observer, QueuePool, SharedPool, Stamp, Status, Times};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Tells the recorder of the `metrics` facade what pools do. Give a clone to every pool as its observer, and
/// [`follow`](Self::follow) it for the gauges. All clones are one.
#[derive(Clone)]
pub struct PoolMetrics(Arc<Books>);

/// What all clones have in common.
#[derive(Default)]
pub(crate) struct Books {
    /// The pools that have told anything, in a list that only grows: an event finds its pool without a lock.
    first: OnceLock<Box<Tally>>,
    followed: Mutex<Vec<Followed>>,
}

/// A pool whose gauges are told.
struct Followed {
    pool: String,
    status: Box<dyn Fn() -> Option<Status> + Send + Sync>,
}

impl PoolMetrics {
    /// What pools do is told once in [`TELL_EVERY`](crate::TELL_EVERY), by a thread for the whole process that ends when
    /// there is nothing left to tell.
    pub fn new() -> Self {
        let metrics = Self::by_hand();
        teller::enlist(&metrics.0);
        metrics
    }

    /// What pools do is told when [`tell`](Self::tell) is called, and for the last time when all clones are dropped.
    pub fn by_hand() -> Self {
        Self(Arc::default())
    }

    /// Tells the gauges of a pool too, under the name that it has in its events, for as long as `status` finds it. The
    /// closure must not keep the pool alive.
    pub fn follow(&self, pool: impl Into<String>, status: impl Fn() -> Option<Status> + Send + Sync + 'static) {
        let followed = Followed { pool: pool.into(), status: Box::new(status) };
        self.0.followed.lock().unwrap_or_else(PoisonError::into_inner).push(followed);
    }

    /// The same for a pool of the core's.
    pub fn follow_pool<M: Manager>(&self, pool: &QueuePool<M>) {
        let weak = pool.downgrade();
        self.follow(pool.name(), move || Some(weak.upgrade()?.status()));
    }

    /// The same for a pool of multiplexed connections: those that at least one borrower has count as used.
    pub fn follow_shared_pool<M: Manager>(&self, pool: &SharedPool<M>)
    where
        M::Connection: Clone + Sync,
    {
        let weak = pool.downgrade();
        self.follow(pool.name(), move || Some(weak.upgrade()?.status()));
    }

    /// Tells the recorder everything at once: what happened since the last time, and how the pools are.
    pub fn tell(&self) {
        self.0.tell();
    }
}

impl Default for PoolMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for PoolMetrics {
    fn observe(&self, event: &Event, stamp: &Stamp<'_>) {
        self.0.tally(stamp.pool).count(event);
    }

    fn interest(&self) -> Interest {
        Interest::Measurements
    }

    fn measured(&self, pool: &str, times: Arc<Times>) {
        self.0.tally(pool).measure(times);
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics").finish_non_exhaustive()
    }
}

impl Books {
    pub(crate) fn tell(&self) {
        describe();
        let mut tally = self.first.get();
        while let Some(this) = tally {
            this.tell();
            tally = this.next.get();
        }
        self.tell_gauges();
    }

    /// The counts of the pools of this name.
    fn tally(&self, pool: &str) -> &Tally {
        let mut tally = self.first.get_or_init(|| Box::new(Tally::new(pool)));
        while !tally.is_of(pool) {
            tally = tally.next.get_or_init(|| Box::new(Tally::new(pool)));
        }
        tally
    }

    fn tell_gauges(&self) {
        let mut levels: BTreeMap<String, Levels> = BTreeMap::new();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|followed| {
            let levels = levels.entry(followed.pool.clone()).or_default();
            let status = (followed.status)();
            // Of a pool that has gone the gauges are told once more, as zero.
            status.iter().for_each(|status| levels.add(status));
            status.is_some()
        });
        drop(followed);
        for (pool, levels) in levels {
            levels.tell(&pool);
        }
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.tell();
    }
}

/// The gauges of the pools of one name, added up.
#[derive(Default)]
struct Levels {
    size: u32,
    max: u32,
    idle: u32,
    used: u32,
    available: u32,
    pending: u32,
}

impl Levels {
    fn add(&mut self, status: &Status) {
        for (level, more) in [
            (&mut self.size, status.pool_size),
            (&mut self.max, status.cap()),
            (&mut self.idle, status.idle),
            (&mut self.used, status.in_use),
            (&mut self.available, status.pool_size.saturating_sub(status.in_use)),
            (&mut self.pending, status.waiting),
        ] {
            *level = level.saturating_add(more);
        }
    }

    fn tell(&self, pool: &str) {
        let pool = pool.to_owned();
        gauge!(COUNT, POOL => pool.clone(), STATE => "idle").set(self.idle);
        gauge!(COUNT, POOL => pool.clone(), STATE => "used").set(self.used);
        for (name, level) in [
            (IDLE_MAX, self.size),
            (MAX, self.max),
            (PENDING, self.pending),
            (POOL_SIZE, self.size),
            (POOL_IN_USE, self.used),
            (POOL_AVAILABLE, self.available),
        ] {
            gauge!(name, POOL => pool.clone()).set(level);
        }
    }
}
