//! Counts the events of all pools with one name, and reports them in batches.

use crate::names::*;
use metrics::{Label, counter, histogram};
use millpond_core::{AcquireFailure, Event, Histogram, PoolHistograms};
use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One nanosecond, in seconds.
const NANO: f64 = 1e-9;

/// The outcomes of acquires that got no connection.
const TIMED_OUT: &str = "timed_out";
const CANCELLED: &str = "cancelled";
const FAILED: &str = "failed";

/// The counts of all pools with one name.
pub(crate) struct Tally {
    pool: String,
    /// The histograms of the pools with this name.
    histograms: Mutex<Vec<Attached>>,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    failed: AtomicU64,
    /// How long callers waited who got no connection, since the last report, by outcome.
    unserved: Mutex<BTreeMap<&'static str, Box<Histogram>>>,
    /// Counters of events that are rarer than an acquire.
    rare: Mutex<BTreeMap<Rare, u64>>,
}

/// A counter of a rare event: its name, and the label that distinguishes its kinds.
type Rare = (&'static str, Option<(&'static str, &'static str)>);

impl Tally {
    pub(crate) fn new(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            histograms: Mutex::default(),
            timed_out: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            unserved: Mutex::default(),
            rare: Mutex::default(),
        }
    }

    /// Returns true if no pool of this name has histograms attached and everything was reported.
    pub(crate) fn is_over(&self) -> bool {
        let counts = [&self.timed_out, &self.cancelled, &self.failed];
        self.histograms.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
            && counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
            && self.unserved.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
            && self.rare.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::AcquireFailed { failure: AcquireFailure::TimedOut, waited, .. } => {
                self.one_more_unserved(TIMED_OUT, &self.timed_out, *waited)
            }
            Event::AcquireFailed { waited, .. } => {
                self.one_more_unserved(FAILED, &self.failed, *waited)
            }
            Event::AcquireCancelled { waited, .. } => {
                self.one_more_unserved(CANCELLED, &self.cancelled, *waited)
            }
            Event::ConnectFailed { .. } => self.one_more_rare(CONNECT_FAILED, None),
            Event::Closed { reason, .. } => {
                self.one_more_rare(CLOSED, Some(("reason", reason.name())))
            }
            Event::Detached { .. } => self.one_more_rare(DETACHED, None),
            Event::PingFailed { .. } => self.one_more_rare(FAILURES, Some(("what", "ping"))),
            Event::ResetFailed { .. } => self.one_more_rare(FAILURES, Some(("what", "reset"))),
            Event::HookFailed { point, .. } => {
                self.one_more_rare(FAILURES, Some(("what", "hook")));
                self.one_more_rare(HOOK_FAILURES, Some(("hook", point.name())));
            }
            Event::FailingFast { .. } => self.one_more_rare(FAST_FAILURES, None),
            Event::Leaked { .. } => self.one_more_rare(LEAKS, None),
            Event::Panicked { .. } => self.one_more_rare(PANICS, None),
            _ => {}
        }
    }

    /// Reports a pool's histograms from now on.
    pub(crate) fn attach(&self, histograms: Arc<PoolHistograms>) {
        self.histograms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Attached::new(histograms));
    }

    /// Reports the counts since the last report.
    pub(crate) fn report(&self) {
        self.report_histograms();
        let timed_out = self.timed_out.swap(0, Ordering::Relaxed);
        self.report_count(TIMEOUTS, None, timed_out);
        let (cancelled, failed) =
            (self.cancelled.swap(0, Ordering::Relaxed), self.failed.swap(0, Ordering::Relaxed));
        for (outcome, count) in [(TIMED_OUT, timed_out), (CANCELLED, cancelled), (FAILED, failed)] {
            self.report_count(ACQUIRES, Some(("outcome", outcome)), count);
        }
        let unserved =
            mem::take(&mut *self.unserved.lock().unwrap_or_else(PoisonError::into_inner));
        for (outcome, waits) in unserved {
            let label = Some(("outcome", outcome));
            self.report_histogram(UNSERVED_TIME, label, &waits, &mut nothing());
        }
        let mut rare = mem::take(&mut *self.rare.lock().unwrap_or_else(PoisonError::into_inner));
        // From the first report on, so that a monitor sees the first of them as an increase.
        for name in [CONNECT_FAILED, DETACHED, FAST_FAILURES, LEAKS, PANICS] {
            rare.entry((name, None)).or_default();
        }
        for ((name, label), count) in rare {
            self.report_count(name, label, count);
        }
    }

    /// Reports the histograms, and the counters that follow from them.
    fn report_histograms(&self) {
        let mut histograms = self.histograms.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ok, mut created) = (0_u64, 0_u64);
        histograms.retain_mut(|pool| {
            // Read first, so that everything counted before the pool ended is reported.
            let lives = !pool.histograms.has_ended();
            ok = ok.saturating_add(self.report_histogram(
                WAIT_TIME,
                None,
                pool.histograms.wait(),
                &mut pool.waits,
            ));
            self.report_histogram(USE_TIME, None, pool.histograms.hold(), &mut pool.holds);
            created = created.saturating_add(self.report_histogram(
                CREATE_TIME,
                None,
                pool.histograms.connect(),
                &mut pool.connects,
            ));
            lives
        });
        drop(histograms);
        self.report_count(ACQUIRES, Some(("outcome", "ok")), ok);
        self.report_count(CREATED, None, created);
    }

    /// Reports the values that a histogram counted since the last report, and returns their number.
    fn report_histogram(
        &self,
        name: &'static str,
        label: Option<(&'static str, &'static str)>,
        histogram: &Histogram,
        reported: &mut Reported,
    ) -> u64 {
        let (mut handle, mut all) = (None, 0_u64);
        for ((nanos, count), reported) in histogram.classes().zip(reported) {
            let more = count.saturating_sub(*reported);
            if more > 0 {
                *reported = count;
                all = all.saturating_add(more);
                let handle = handle.get_or_insert_with(|| histogram!(name, self.labels(label)));
                handle.record_many(nanos * NANO, usize::try_from(more).unwrap_or(usize::MAX));
            }
        }
        all
    }

    /// Reports a count, even 0, so that the counter exists from the first report on.
    fn report_count(
        &self,
        name: &'static str,
        label: Option<(&'static str, &'static str)>,
        count: u64,
    ) {
        counter!(name, self.labels(label)).increment(count);
    }

    /// Returns the name of the pool and another label, as labels of a metric.
    fn labels(&self, label: Option<(&'static str, &'static str)>) -> Vec<Label> {
        let mut labels = vec![Label::new(POOL, self.pool.clone())];
        labels.extend(label.map(|(key, value)| Label::from_static_parts(key, value)));
        labels
    }

    /// Counts an acquire that got no connection, and its wait.
    fn one_more_unserved(&self, outcome: &'static str, count: &AtomicU64, waited: Duration) {
        let mut unserved = self.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        unserved.entry(outcome).or_default().add(nanos);
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn one_more_rare(&self, name: &'static str, label: Option<(&'static str, &'static str)>) {
        let mut rare = self.rare.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rare.entry((name, label)).or_default();
        *count = count.saturating_add(1);
    }
}

/// The histograms of one pool, and the counts already reported.
struct Attached {
    histograms: Arc<PoolHistograms>,
    waits: Box<Reported>,
    holds: Box<Reported>,
    connects: Box<Reported>,
}

type Reported = [u64; Histogram::CLASSES];

impl Attached {
    fn new(histograms: Arc<PoolHistograms>) -> Self {
        Self { histograms, waits: nothing(), holds: nothing(), connects: nothing() }
    }
}

/// Returns the counts of a histogram of which nothing was reported.
fn nothing() -> Box<Reported> {
    Box::new([0; Histogram::CLASSES])
}
