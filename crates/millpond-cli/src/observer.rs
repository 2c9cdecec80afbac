//! Counts the events of a database's pools, independently of the pools' own counts.

use crate::histogram::DurationHistogram;
use millpond::core::AcquireFailure;
use millpond::{ConnectionId, Event, EventContext, Observer};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The counts of all pools, by pool name.
#[derive(Debug, Default)]
pub struct Tally {
    /// Held for one event at a time; nothing waits or calls other code while it is held.
    pools: Mutex<BTreeMap<String, Counts>>,
}

/// A holder that the pool reported.
#[derive(Debug, Clone)]
pub struct Leak {
    /// The connection that it holds.
    pub id: ConnectionId,
    /// The line that acquired it.
    pub holder: String,
    /// How long the connection was held when the pool reported it.
    pub held: Duration,
}

/// The counts of one pool's events so far.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// How long successful acquires took.
    pub waits: DurationHistogram,
    /// Acquires that timed out.
    pub timed_out: u64,
    /// Acquires that were dropped.
    pub cancelled: u64,
    /// Acquires that failed for another reason.
    pub failed: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed, by reason.
    pub closed: BTreeMap<&'static str, u64>,
    /// Connections detached from the pool.
    pub detached: u64,
    /// The most callers that waited at the same time.
    pub waiting_peak: usize,
    /// Holders that were reported for keeping a connection too long.
    pub leaks: Vec<Leak>,
}

impl Counts {
    /// Returns the number of successful acquires.
    pub fn ok(&self) -> u64 {
        self.waits.count()
    }

    /// Returns the number of connections closed for any reason.
    pub fn closed_in_all(&self) -> u64 {
        self.closed.values().sum()
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Waiting { waiting } => self.waiting_peak = self.waiting_peak.max(*waiting),
            Event::Acquired { waited, .. } => self.waits.record(*waited),
            Event::AcquireFailed { failure: AcquireFailure::TimedOut, .. } => self.timed_out += 1,
            Event::AcquireFailed { .. } => self.failed += 1,
            Event::AcquireCancelled { .. } => self.cancelled += 1,
            Event::Connected { .. } => self.opened += 1,
            Event::Closed { reason, .. } => *self.closed.entry(reason.name()).or_default() += 1,
            Event::Detached { .. } => self.detached += 1,
            Event::Leaked { id, location, held } => {
                self.leaks.push(Leak {
                    id: *id,
                    holder: format!("{}:{}", location.file(), location.line()),
                    held: *held,
                });
            }
            _ => {}
        }
    }
}

impl Tally {
    /// Returns the counts of a pool so far.
    pub fn counts(&self, pool: &str) -> Counts {
        self.pools
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(pool)
            .cloned()
            .unwrap_or_default()
    }
}

impl Observer for Tally {
    fn observe(&self, event: &Event, context: &EventContext<'_>) {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        match pools.get_mut(context.pool) {
            Some(counts) => counts.note(event),
            None => pools.entry(context.pool.to_owned()).or_default().note(event),
        }
    }
}
