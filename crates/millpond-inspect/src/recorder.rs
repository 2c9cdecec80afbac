//! `Recorder`, the observer that keeps recent events and the pools' histograms.

use millpond_core::{Event, EventContext, Interest, Observer, PoolHistograms};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// How many events are kept of the pools with one name.
const EVENTS: usize = 50;

/// The longest text of an event, an error or a label, in characters.
const MAX_TEXT: usize = 300;

/// How many names of pools have events; further ones are not recorded.
const MAX_NAMES: usize = 1000;

/// Keeps the last 50 events of the pools with one name, without those of acquires and loans, and
/// reads their histograms. All clones share what they keep.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<HashMap<String, Recorded>>>);

/// What is kept of the pools with one name.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) events: VecDeque<RecordedEvent>,
    pub(crate) histograms: Vec<Arc<PoolHistograms>>,
}

/// An event as text.
pub(crate) struct RecordedEvent {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) is_error: bool,
    pub(crate) text: String,
}

/// Returns an event as text. An error is shown by its message, not by its fields, which may have
/// secrets.
fn describe(event: &Event) -> String {
    let fields = format!("{event:?}");
    match event.error() {
        Some(error) => {
            let name = fields.split([' ', '{']).next().unwrap_or_default();
            short(&format!("{name}: {error}"))
        }
        None => short(&fields),
    }
}

/// Returns the beginning of a text.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

impl Recorder {
    /// Creates a recorder without events.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with<T>(&self, pool: &str, read: impl FnOnce(&Recorded) -> T) -> Option<T> {
        self.lock().get(pool).map(read)
    }

    fn change(&self, pool: &str, change: impl FnOnce(&mut Recorded)) {
        let mut all = self.lock();
        if let Some(recorded) = all.get_mut(pool) {
            change(recorded);
        } else if all.len() < MAX_NAMES {
            change(all.entry(pool.to_owned()).or_default());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event, context: &EventContext<'_>) {
        if event.is_of_a_loan() {
            return;
        }
        let is_error = event.error().is_some() || matches!(event, Event::Panicked { .. });
        let text = describe(event);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        self.change(context.pool, |recorded| {
            if recorded.events.len() >= EVENTS {
                recorded.events.pop_front();
            }
            recorded.events.push_back(RecordedEvent { at, is_error, text });
        });
    }

    fn interest(&self) -> Interest {
        Interest::Measurements
    }

    fn attach_histograms(&self, pool: &str, histograms: Arc<PoolHistograms>) {
        self.change(pool, |recorded| {
            recorded.histograms.retain(|histograms| !histograms.has_ended());
            recorded.histograms.push(histograms);
        });
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}
