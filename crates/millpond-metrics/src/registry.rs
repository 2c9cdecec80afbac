//! The counts of each pool name, and the pools whose gauges are reported.

use crate::names::*;
use crate::tally::Tally;
use metrics::gauge;
use millpond_core::Status;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The state that all clones of a [`PoolMetrics`](crate::PoolMetrics) share.
#[derive(Default)]
pub(crate) struct Registry {
    /// One tally for each pool name. Events are counted under the read lock; removing a tally takes
    /// the write lock, so that no event is counted in a removed tally.
    tallies: RwLock<HashMap<String, Arc<Tally>>>,
    followed: Mutex<Vec<Followed>>,
    /// Held during a report. Otherwise a slow report could set a gauge after another report has set
    /// it to zero for a dropped pool.
    reporting: Mutex<()>,
}

/// A pool whose gauges are reported.
struct Followed {
    pool: String,
    status: ReadStatus,
}

/// Reads the status of a pool; `None` once the pool was dropped.
pub(crate) type ReadStatus = Box<dyn Fn() -> Option<Status> + Send + Sync>;

impl Registry {
    pub(crate) fn follow(&self, pool: String, status: ReadStatus) {
        self.followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Followed { pool, status });
    }

    pub(crate) fn report(&self) {
        let _guard = self.begin_report();
        describe();
        let tallies: Vec<_> = self.read().values().cloned().collect();
        tallies.iter().for_each(|tally| tally.report());
        self.report_gauges();
        if tallies.iter().any(|tally| tally.is_over()) {
            let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            let followed: HashSet<&str> =
                followed.iter().map(|followed| followed.pool.as_str()).collect();
            self.write().retain(|pool, tally| !tally.is_over() || followed.contains(pool.as_str()));
        }
    }

    pub(crate) fn forget(&self, pool: &str) {
        let _guard = self.begin_report();
        let tally = self.write().remove(pool);
        if let Some(tally) = tally {
            tally.report();
        }
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = followed.len();
        followed.retain(|followed| followed.pool != pool);
        let was_followed = followed.len() < before;
        drop(followed);
        if was_followed {
            Levels::default().report(pool);
        }
    }

    /// Calls `count` with the tally of the pools of this name.
    pub(crate) fn with_tally(&self, pool: &str, count: impl FnOnce(&Tally)) {
        let tallies = self.read();
        if let Some(tally) = tallies.get(pool) {
            return count(tally);
        }
        drop(tallies);
        count(self.write().entry(pool.to_owned()).or_insert_with(|| Arc::new(Tally::new(pool))));
    }

    fn begin_report(&self) -> MutexGuard<'_, ()> {
        self.reporting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Arc<Tally>>> {
        self.tallies.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<Tally>>> {
        self.tallies.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn report_gauges(&self) {
        let mut levels: BTreeMap<String, Levels> = BTreeMap::new();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|followed| {
            let levels = levels.entry(followed.pool.clone()).or_default();
            let status = (followed.status)();
            // The gauges of a dropped pool are reported once more, as zero.
            status.iter().for_each(|status| levels.add(status));
            status.is_some()
        });
        drop(followed);
        for (pool, levels) in levels {
            levels.report(&pool);
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.report();
    }
}

/// The sums of the gauges of all pools with one name.
#[derive(Default)]
struct Levels {
    size: u32,
    max: u32,
    min_idle: u32,
    idle: u32,
    used: u32,
    available: u32,
    pending: u32,
    open: u32,
    peak: u32,
    suspended: u32,
    /// The longest of all pools, in seconds.
    oldest_waiter: f64,
    /// The longest of all pools, in seconds.
    failing: f64,
}

impl Levels {
    fn add(&mut self, status: &Status) {
        for (level, more) in [
            (&mut self.size, status.pool_size),
            (&mut self.max, status.limit()),
            (&mut self.idle, status.idle),
            (&mut self.used, status.in_use),
            (&mut self.available, status.pool_size.saturating_sub(status.in_use)),
            (&mut self.pending, status.waiting),
            (&mut self.min_idle, status.min_idle),
            (&mut self.open, status.open),
            (&mut self.peak, status.totals.peak),
            (&mut self.suspended, u32::from(status.suspended)),
        ] {
            *level = level.saturating_add(more);
        }
        for (level, time) in [
            (&mut self.oldest_waiter, status.oldest_waiter),
            (&mut self.failing, status.failing_since),
        ] {
            *level = level.max(time.map_or(0.0, |time| time.as_secs_f64()));
        }
    }

    fn report(&self, pool: &str) {
        let pool = pool.to_owned();
        gauge!(COUNT, POOL => pool.clone(), STATE => "idle").set(self.idle);
        gauge!(COUNT, POOL => pool.clone(), STATE => "used").set(self.used);
        for (name, level) in [
            (IDLE_MIN, self.min_idle),
            (IDLE_MAX, self.size),
            (MAX, self.max),
            (PENDING, self.pending),
            (POOL_SIZE, self.size),
            (POOL_IN_USE, self.used),
            (POOL_AVAILABLE, self.available),
            (OPEN, self.open),
            (PEAK, self.peak),
            (SUSPENDED, self.suspended),
        ] {
            gauge!(name, POOL => pool.clone()).set(level);
        }
        gauge!(OLDEST_WAITER, POOL => pool.clone()).set(self.oldest_waiter);
        gauge!(FAILING, POOL => pool).set(self.failing);
    }
}
