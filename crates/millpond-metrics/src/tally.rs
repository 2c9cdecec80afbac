//! What one pool did since it was last told: counted here event by event, told in batches.

use crate::names::*;
use metrics::{Label, counter, histogram};
use millpond_core::{AcquireFailure, Event, Histogram, PoolHistograms};
use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A nanosecond in seconds.
const NANO: f64 = 1e-9;

/// The counts of the pools of one name.
pub(crate) struct Tally {
    pool: String,
    /// What the pools of this name measure themselves.
    measured: Mutex<Vec<Measured>>,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    failed: AtomicU64,
    /// What happens less often than an acquire.
    rare: Mutex<BTreeMap<Rare, u64>>,
}

/// A counter of something rare: its name, and the label that tells one kind of it from another.
type Rare = (&'static str, Option<(&'static str, &'static str)>);

impl Tally {
    pub(crate) fn new(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            measured: Mutex::default(),
            timed_out: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rare: Mutex::default(),
        }
    }

    /// Whether no pool of this name lives that is known to, and everything was told.
    pub(crate) fn is_over(&self) -> bool {
        let counts = [&self.timed_out, &self.cancelled, &self.failed];
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
            && counts.iter().all(|count| count.load(Ordering::Relaxed) == 0)
            && self.rare.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::AcquireFailed { why: AcquireFailure::TimedOut, .. } => one_more(&self.timed_out),
            Event::AcquireFailed { .. } => one_more(&self.failed),
            Event::AcquireCancelled { .. } => one_more(&self.cancelled),
            Event::ConnectFailed { .. } => self.one_more_rare(CONNECT_FAILED, None),
            Event::Closed { reason, .. } => self.one_more_rare(CLOSED, Some(("reason", reason.name()))),
            Event::Detached { .. } => self.one_more_rare(DETACHED, None),
            Event::PingFailed { .. } => self.one_more_rare(FAILURES, Some(("what", "ping"))),
            Event::ResetFailed { .. } => self.one_more_rare(FAILURES, Some(("what", "reset"))),
            Event::HookFailed { .. } => self.one_more_rare(FAILURES, Some(("what", "hook"))),
            Event::Leaked { .. } => self.one_more_rare(LEAKS, None),
            Event::Panicked { .. } => self.one_more_rare(PANICS, None),
            _ => {}
        }
    }

    /// Tells from now on what a pool measures.
    pub(crate) fn measure(&self, times: Arc<PoolHistograms>) {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner).push(Measured::new(times));
    }

    /// Tells the recorder what was counted since the last time.
    pub(crate) fn tell(&self) {
        self.tell_times();
        let timed_out = self.timed_out.swap(0, Ordering::Relaxed);
        self.tell_count(TIMEOUTS, None, timed_out);
        self.tell_count(ACQUIRES, Some(("outcome", "timed_out")), timed_out);
        self.tell_count(ACQUIRES, Some(("outcome", "cancelled")), self.cancelled.swap(0, Ordering::Relaxed));
        self.tell_count(ACQUIRES, Some(("outcome", "failed")), self.failed.swap(0, Ordering::Relaxed));
        let rare = mem::take(&mut *self.rare.lock().unwrap_or_else(PoisonError::into_inner));
        for ((name, label), count) in rare {
            self.tell_count(name, label, count);
        }
    }

    /// Tells how long everything took, and how often it was done.
    fn tell_times(&self) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut ok, mut created) = (0_u64, 0_u64);
        measured.retain_mut(|pool| {
            // Asked first: what is counted before a pool has gone is told.
            let lives = !pool.times.has_ended();
            ok = ok.saturating_add(self.tell_spans(WAIT_TIME, pool.times.waits(), &mut pool.waits));
            self.tell_spans(USE_TIME, pool.times.uses(), &mut pool.uses);
            created = created.saturating_add(self.tell_spans(CREATE_TIME, pool.times.creations(), &mut pool.creations));
            lives
        });
        drop(measured);
        self.tell_count(ACQUIRES, Some(("outcome", "ok")), ok);
        self.tell_count(CREATED, None, created);
    }

    /// Tells what a histogram counted beyond what was told of it, and says how often that was.
    fn tell_spans(&self, name: &'static str, spans: &Histogram, told: &mut Told) -> u64 {
        let (mut handle, mut all) = (None, 0_u64);
        for ((nanos, count), told) in spans.classes().zip(told) {
            let more = count.saturating_sub(*told);
            if more > 0 {
                *told = count;
                all = all.saturating_add(more);
                let handle = handle.get_or_insert_with(|| histogram!(name, POOL => self.pool.clone()));
                handle.record_many(nanos * NANO, usize::try_from(more).unwrap_or(usize::MAX));
            }
        }
        all
    }

    /// Tells a count, of nothing too: a counter that is there from the beginning can be watched.
    fn tell_count(&self, name: &'static str, label: Option<(&'static str, &'static str)>, count: u64) {
        let mut labels = vec![Label::new(POOL, self.pool.clone())];
        labels.extend(label.map(|(key, value)| Label::from_static_parts(key, value)));
        counter!(name, labels).increment(count);
    }

    fn one_more_rare(&self, name: &'static str, label: Option<(&'static str, &'static str)>) {
        let mut rare = self.rare.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rare.entry((name, label)).or_default();
        *count = count.saturating_add(1);
    }
}

/// What a pool measures, and how much of it was told.
struct Measured {
    times: Arc<PoolHistograms>,
    waits: Box<Told>,
    uses: Box<Told>,
    creations: Box<Told>,
}

type Told = [u64; Histogram::CLASSES];

impl Measured {
    fn new(times: Arc<PoolHistograms>) -> Self {
        let nothing = || Box::new([0; Histogram::CLASSES]);
        Self { times, waits: nothing(), uses: nothing(), creations: nothing() }
    }
}

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
