//! What a driver remembers of its server's schema (prepared statements, the numbers of types), and
//! when it has to forget it.
//!
//! A migration makes that out of date on every connection of a pool at once. The first connection
//! that notices says so to all others: idle ones empty their caches before they are lent again,
//! those in use before their next statement or when they come back. So a change of the schema costs
//! at most one error a connection.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the pool is notified at most of changes that an error only hints at: it may be a
/// mistake in a statement as well.
const HINT_PAUSE: Duration = Duration::from_secs(1);

/// What an error says about what the driver remembers of statements and types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheValidity {
    /// Nothing.
    Valid,
    /// It may be out of date, or the statement is wrong.
    Doubtful,
    /// The schema has changed, or the server has forgotten what was prepared.
    Outdated,
}

/// How often the schema of a pool's database has changed, as far as its connections have noticed:
/// one for each pool, kept by its manager. Clones are the same one.
pub struct SchemaChanges(Arc<Shared>);

struct Shared {
    noticed: AtomicU64,
    hinted: Mutex<Option<Instant>>,
    validate_idle: Box<dyn Fn() + Send + Sync>,
}

impl SchemaChanges {
    /// No change was noticed yet. `validate_idle` has the idle connections of the pool pinged
    /// before they are lent again:
    /// [`WeakPoolHandle::validate_idle`](crate::backend_api::WeakPoolHandle::validate_idle).
    pub fn new(validate_idle: impl Fn() + Send + Sync + 'static) -> Self {
        let validate_idle = Box::new(validate_idle);
        Self(Arc::new(Shared {
            noticed: AtomicU64::new(0),
            hinted: Mutex::default(),
            validate_idle,
        }))
    }

    /// Whether a hint counts: none has for a while.
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

/// Whether what the driver of one connection remembers is still true.
pub(crate) struct StatementCache {
    /// Whether it is known to be out of date on this connection.
    outdated: bool,
    /// The pool's count when it was last emptied, or the connection opened.
    seen: u64,
    changes: Option<SchemaChanges>,
}

impl StatementCache {
    /// Nothing is remembered yet, and no other connection says what it has noticed.
    pub(crate) fn new() -> Self {
        Self { outdated: false, seen: 0, changes: None }
    }

    /// Learns from the other connections of its pool from now on.
    pub(crate) fn share(&mut self, changes: &SchemaChanges) {
        self.seen = changes.noticed();
        self.changes = Some(changes.clone());
    }

    /// Whether the caches have to be emptied before the next statement.
    pub(crate) fn is_outdated(&self) -> bool {
        self.outdated || self.seen != self.noticed()
    }

    /// The server has forgotten what was prepared on this connection.
    pub(crate) fn mark_outdated(&mut self) {
        self.outdated = true;
    }

    /// Whether that is noted from now on; the answer is whether it was before.
    pub(crate) fn set_outdated(&mut self, is_outdated: bool) -> bool {
        mem::replace(&mut self.outdated, is_outdated)
    }

    /// Learns from an error. If it shows a change that the other connections of the pool do not
    /// know of, they are notified.
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

    /// The count of the pool: what is emptied from now on is up to date as of it.
    pub(crate) fn noticed(&self) -> u64 {
        self.changes.as_ref().map_or(self.seen, SchemaChanges::noticed)
    }

    /// The caches were emptied.
    pub(crate) fn mark_cleared(&mut self, as_of: u64) {
        (self.outdated, self.seen) = (false, as_of);
    }
}
