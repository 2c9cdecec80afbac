//! `PoolMetrics`, the observer that reports metrics.

use crate::registry::Registry;
use crate::reporter;
use millpond_core::{
    Event, EventContext, Interest, Manager, Observer, PoolHistograms, QueuePool, Status,
};
use millpond_shared::SharedPool;
use std::fmt;
use std::sync::Arc;

/// Reports pools' metrics to the recorder of the `metrics` facade. Add a clone to every pool as its
/// observer, and call [`follow`](Self::follow) for its gauges. All clones share their counts.
#[derive(Clone)]
pub struct PoolMetrics(Arc<Registry>);

impl PoolMetrics {
    /// Creates an instance that reports once per [`REPORT_INTERVAL`](crate::REPORT_INTERVAL), from
    /// one thread for the whole process. The thread ends when nothing is left to report.
    pub fn new() -> Self {
        let metrics = Self::manual();
        reporter::enlist(&metrics.0);
        metrics
    }

    /// Creates an instance that reports only when [`report`](Self::report) is called, and once more
    /// when the last clone is dropped.
    pub fn manual() -> Self {
        Self(Arc::default())
    }

    /// Reports a pool's gauges too, under the name in its events, for as long as `status` returns a
    /// value. The closure must not keep the pool alive.
    pub fn follow(
        &self,
        pool: impl Into<String>,
        status: impl Fn() -> Option<Status> + Send + Sync + 'static,
    ) {
        self.0.follow(pool.into(), Box::new(status));
    }

    /// [`follow`](Self::follow)s a [`QueuePool`].
    pub fn follow_pool<M: Manager>(&self, pool: &QueuePool<M>) {
        let weak = pool.downgrade();
        self.follow(pool.name(), move || Some(weak.upgrade()?.status()));
    }

    /// [`follow`](Self::follow)s a pool of multiplexed connections. A connection with at least one
    /// borrower counts as used.
    pub fn follow_shared_pool<M: Manager>(&self, pool: &SharedPool<M>)
    where
        M::Connection: Clone + Sync,
    {
        let weak = pool.downgrade();
        self.follow(pool.name(), move || Some(weak.upgrade()?.status()));
    }

    /// Reports the pools of this name for the last time, and forgets them. Useful where pools have
    /// many names that are never used again. A dropped pool is forgotten without this call, after
    /// its last report. A pool of this name that still exists is reported again from its next event
    /// on, as if it were new: without its histograms and, unless it is followed again, without its
    /// gauges.
    ///
    /// A recorder keeps its metrics. Some exporters drop a metric that was not updated for a while,
    /// such as Prometheus' with `PrometheusBuilder::idle_timeout`; metrics of existing pools are
    /// updated by every report.
    ///
    /// Waits for a report that is running, so a recorder must not call this.
    pub fn forget(&self, pool: &str) {
        self.0.forget(pool);
    }

    /// Reports the counts since the last report, and the gauges. Waits for a report that is
    /// running, so a recorder must not call this.
    pub fn report(&self) {
        self.0.report();
    }
}

impl Default for PoolMetrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for PoolMetrics {
    fn observe(&self, event: &Event, context: &EventContext<'_>) {
        self.0.with_tally(context.pool, |tally| tally.count(event));
    }

    fn interest(&self) -> Interest {
        Interest::Measurements
    }

    fn attach_histograms(&self, pool: &str, histograms: Arc<PoolHistograms>) {
        self.0.with_tally(pool, |tally| tally.attach(histograms));
    }
}

impl fmt::Debug for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolMetrics").finish_non_exhaustive()
    }
}
