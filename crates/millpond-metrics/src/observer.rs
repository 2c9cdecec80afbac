//! `PoolMetrics`: the observer that pools are given, and who knows what there is to tell.

use crate::names::*;
use crate::tally::Tally;
use crate::teller;
use metrics::gauge;
use millpond_core::{Event, EventContext, Interest, Manager, Observer, PoolHistograms, QueuePool, SharedPool, Status};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Tells the recorder of the `metrics` facade what pools do. Give a clone to every pool as its observer, and
/// [`follow`](Self::follow) it for the gauges. All clones are one.
#[derive(Clone)]
pub struct PoolMetrics(Arc<Books>);

/// What all clones have in common.
#[derive(Default)]
pub(crate) struct Books {
    /// The pools that have told anything, by their names. An event counts under a lock that it shares with other events; who
    /// takes a pool out has it alone, so that nothing is counted where nobody looks any more.
    tallies: RwLock<HashMap<String, Arc<Tally>>>,
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

    /// Tells the recorder for the last time what pools of this name did, and forgets them: for one of many whose names never come
    /// again. A pool that was dropped is forgotten by itself, once it is told what it did last. If one of this name still lives,
    /// it is told of from its next incident on as if it were new, without its spans of time and, unless it is followed again,
    /// its gauges.
    ///
    /// A recorder keeps what it was told. Exporters can let go of what was not told for a while, as Prometheus' does with
    /// `PrometheusBuilder::idle_timeout`: of pools that live everything is told each time, of others nothing.
    pub fn forget(&self, pool: &str) {
        self.0.forget(pool);
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
    fn observe(&self, event: &Event, stamp: &EventContext<'_>) {
        self.0.with_tally(stamp.pool, |tally| tally.count(event));
    }

    fn interest(&self) -> Interest {
        Interest::Measurements
    }

    fn attach_histograms(&self, pool: &str, times: Arc<PoolHistograms>) {
        self.0.with_tally(pool, |tally| tally.measure(times));
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
        let tallies: Vec<_> = self.read().values().cloned().collect();
        tallies.iter().for_each(|tally| tally.tell());
        self.tell_gauges();
        if tallies.iter().any(|tally| tally.is_over()) {
            let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            let followed: HashSet<&str> = followed.iter().map(|followed| followed.pool.as_str()).collect();
            self.write().retain(|pool, tally| !tally.is_over() || followed.contains(pool.as_str()));
        }
    }

    fn forget(&self, pool: &str) {
        let tally = self.write().remove(pool);
        if let Some(tally) = tally {
            tally.tell();
        }
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = followed.len();
        followed.retain(|followed| followed.pool != pool);
        let was_followed = followed.len() < before;
        drop(followed);
        if was_followed {
            Levels::default().tell(pool);
        }
    }

    /// Has something counted for the pools of this name.
    fn with_tally(&self, pool: &str, count: impl FnOnce(&Tally)) {
        let tallies = self.read();
        if let Some(tally) = tallies.get(pool) {
            return count(tally);
        }
        drop(tallies);
        count(self.write().entry(pool.to_owned()).or_insert_with(|| Arc::new(Tally::new(pool))));
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Arc<Tally>>> {
        self.tallies.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<Tally>>> {
        self.tallies.write().unwrap_or_else(PoisonError::into_inner)
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
