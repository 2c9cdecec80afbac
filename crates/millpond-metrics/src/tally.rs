//! What one pool did since it was last told: counted here event by event, told in batches.

use crate::distribution::Distribution;
use crate::names::*;
use metrics::{Label, counter, histogram};
use millpond_core::{AcquireFailure, Event};
use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The counts of the pools of one name.
pub(crate) struct Tally {
    pool: String,
    waits: Distribution,
    uses: Distribution,
    creations: Distribution,
    timed_out: AtomicU64,
    cancelled: AtomicU64,
    failed: AtomicU64,
    /// What happens less often than an acquire.
    rare: Mutex<BTreeMap<Rare, u64>>,
    /// The next pool of the list.
    pub(crate) next: OnceLock<Box<Tally>>,
}

/// A counter of something rare: its name, and the label that tells one kind of it from another.
type Rare = (&'static str, Option<(&'static str, &'static str)>);

impl Tally {
    pub(crate) fn new(pool: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            waits: Distribution::new(),
            uses: Distribution::new(),
            creations: Distribution::new(),
            timed_out: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            rare: Mutex::default(),
            next: OnceLock::new(),
        }
    }

    pub(crate) fn is_of(&self, pool: &str) -> bool {
        self.pool == pool
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: &Event) {
        match event {
            Event::Acquired { waited, .. } => self.waits.add(*waited),
            Event::Returned { held, .. } => self.uses.add(*held),
            Event::AcquireFailed { why: AcquireFailure::TimedOut, .. } => one_more(&self.timed_out),
            Event::AcquireFailed { .. } => one_more(&self.failed),
            Event::AcquireCancelled { .. } => one_more(&self.cancelled),
            Event::Connected { took, .. } => self.creations.add(*took),
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

    /// Tells the recorder what was counted since the last time.
    pub(crate) fn tell(&self) {
        let ok = self.tell_spans(WAIT_TIME, &self.waits);
        self.tell_count(ACQUIRES, Some(("outcome", "ok")), ok);
        self.tell_spans(USE_TIME, &self.uses);
        let created = self.tell_spans(CREATE_TIME, &self.creations);
        self.tell_count(CREATED, None, created);
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

    /// Tells the spans of a histogram, and says how many there were.
    fn tell_spans(&self, name: &'static str, spans: &Distribution) -> u64 {
        let mut handle = None;
        spans.take(|seconds, count| {
            let handle = handle.get_or_insert_with(|| histogram!(name, POOL => self.pool.clone()));
            handle.record_many(seconds, usize::try_from(count).unwrap_or(usize::MAX));
        })
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

fn one_more(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
