//! Decides when a driver's cached statements and type ids must be cleared.
//!
//! A migration invalidates these caches on every connection of a pool at once. The first connection
//! that notices notifies the others: idle connections clear their caches before they are lent
//! again, connections in use before their next statement or on return. So a schema change costs at
//! most one error per connection.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The shortest time between two notifications caused by errors that only hint at a schema change;
/// a mistake in a statement causes such an error too.
const HINT_PAUSE: Duration = Duration::from_secs(1);

/// Whether cached statements and types are still valid after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheValidity {
    /// The error does not concern them.
    Valid,
    /// They may be outdated, or the statement is wrong.
    Doubtful,
    /// The schema has changed, or the server has deallocated prepared statements.
    Outdated,
}

/// Counts the schema changes that the connections of one pool have noticed. The pool's manager
/// keeps it; clones share the count.
pub struct SchemaChanges(Arc<Shared>);

struct Shared {
    noticed: AtomicU64,
    hinted: Mutex<Option<Instant>>,
    validate_idle: Box<dyn Fn() + Send + Sync>,
    retire_older: Box<dyn Fn() + Send + Sync>,
}

impl SchemaChanges {
    /// Creates a counter at zero. `validate_idle` makes the pool ping idle connections before they
    /// are lent again:
    /// [`WeakPoolHandle::validate_idle`](crate::backend_api::WeakPoolHandle::validate_idle).
    /// `retire_older` replaces all connections, for a change that only a new one learns of.
    pub fn new(
        validate_idle: impl Fn() + Send + Sync + 'static,
        retire_older: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let (validate_idle, retire_older) = (Box::new(validate_idle), Box::new(retire_older));
        Self(Arc::new(Shared {
            noticed: AtomicU64::new(0),
            hinted: Mutex::default(),
            validate_idle,
            retire_older,
        }))
    }

    /// Returns true if no hint was accepted within `HINT_PAUSE`.
    fn accept_hint(&self) -> bool {
        let mut hinted = self.0.hinted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = hinted.is_some_and(|at| at.elapsed() < HINT_PAUSE);
        if !is_recent {
            *hinted = Some(Instant::now());
        }
        !is_recent
    }

    fn noticed(&self) -> u64 {
        self.0.noticed.load(Ordering::Acquire)
    }
}

impl Clone for SchemaChanges {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl fmt::Debug for SchemaChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SchemaChanges").field(&self.noticed()).finish()
    }
}

/// Whether the cached statements and types of one connection are still valid.
pub(crate) struct StatementCache {
    /// Whether they are known to be outdated on this connection.
    outdated: bool,
    /// The pool's count when the cache was last cleared, or when the connection was opened.
    seen: u64,
    changes: Option<SchemaChanges>,
    /// True if a statement of this lease may have changed how others are parsed.
    parse_changed: bool,
    /// The settings that decide how statements are parsed, if they are known.
    parse_settings: Option<Box<str>>,
}

impl StatementCache {
    /// An empty cache that shares no changes with other connections yet.
    pub(crate) fn new() -> Self {
        Self { outdated: false, seen: 0, changes: None, parse_changed: false, parse_settings: None }
    }

    /// Shares schema changes with the pool's other connections from now on.
    pub(crate) fn share(&mut self, changes: &SchemaChanges) {
        self.seen = changes.noticed();
        self.changes = Some(changes.clone());
    }

    /// Returns true if the caches must be cleared before the next statement.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated || self.seen != self.noticed()
    }

    /// Records that the server has deallocated the connection's prepared statements.
    pub(crate) fn mark_outdated(&mut self) {
        self.outdated = true;
    }

    /// Records that a statement may have changed how others are parsed.
    pub(crate) fn note_parse_change(&mut self) {
        (self.outdated, self.parse_changed, self.parse_settings) = (true, true, None);
    }

    /// Records that such a change may have been undone, as by the end of its transaction.
    pub(crate) fn note_possible_revert(&mut self) {
        self.outdated |= self.parse_changed;
    }

    /// Ends the lease, after which a reset may undo its changes.
    pub(crate) fn end_lease(&mut self) {
        self.note_possible_revert();
        self.parse_changed = false;
    }

    /// Compares the settings that decide how statements are parsed with those of the last call.
    pub(crate) fn set_parse_settings(&mut self, settings: Option<String>) {
        self.outdated |= self.parse_settings.as_deref() != settings.as_deref();
        self.parse_settings = settings.map(String::into_boxed_str);
    }

    /// Sets the flag and returns its previous value.
    pub(crate) fn set_outdated(&mut self, is_outdated: bool) -> bool {
        mem::replace(&mut self.outdated, is_outdated)
    }

    /// Records what an error means for the cache, and notifies the other connections of the pool if
    /// the change is new to them.
    pub(crate) fn note(&mut self, validity: CacheValidity) {
        self.outdated |= validity != CacheValidity::Valid;
        let Some(changes) = &self.changes else { return };
        if validity == CacheValidity::Outdated
            || (validity == CacheValidity::Doubtful && changes.accept_hint())
        {
            let (shared, next) = (&changes.0, self.seen.wrapping_add(1));
            if shared
                .noticed
                .compare_exchange(self.seen, next, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
            {
                (shared.validate_idle)();
            }
        }
    }

    /// Records that a type was altered whose definition the driver keeps for as long as its
    /// connection lives, so that the other connections of the pool need not meet it too.
    pub(crate) fn note_altered_type(&self) {
        if let Some(changes) = &self.changes {
            (changes.0.retire_older)();
        }
    }

    /// Returns the pool's count, as of which a cache that is cleared now is up to date.
    pub(crate) fn noticed(&self) -> u64 {
        self.changes.as_ref().map_or(self.seen, SchemaChanges::noticed)
    }

    /// Records that the caches were cleared.
    pub(crate) fn mark_cleared(&mut self, as_of: u64) {
        (self.outdated, self.seen) = (false, as_of);
    }
}
