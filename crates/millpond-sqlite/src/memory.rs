//! The one connection to an in-memory database, kept through everything that makes a pool give a
//! connection up.
//!
//! Closing that connection would destroy the database. So the manager owns it, and what the pool
//! calls a connection is a loan: whether the pool closes it, drops it, or loses it with a runtime
//! or a panic, it comes back here, and the next `connect` verifies it and lends it again. Only the
//! end of the pool ends the database.

use crate::baseline::Baseline;
use sqlx::{Error, SqliteConnection};
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The database of one pool.
#[derive(Default)]
pub(crate) struct Memory {
    /// Locked for moving the connection in and out, never across an await.
    place: Mutex<Place>,
    /// The settings of its connection as its hooks have left them for the first time.
    baseline: OnceLock<Baseline>,
    /// Whether hooks have still to act on the first connection: what they left half done is not
    /// kept.
    unfinished: AtomicBool,
}

/// Where its connection is.
#[derive(Default)]
enum Place {
    /// It was never opened.
    #[default]
    Nowhere,
    /// The pool has it, or its borrower, or a `connect` that is under way.
    Out,
    Here(Kept),
    /// The driver's thread ended, and the database with it.
    Lost,
    /// The pool was closed: what comes back is dropped.
    Closed,
}

/// The connection, and the flag that stops what it is doing.
pub(crate) struct Kept {
    pub(crate) conn: SqliteConnection,
    pub(crate) brake: Arc<AtomicBool>,
}

impl Memory {
    /// Takes the connection, if it was ever opened, for the time of a `connect`.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Loan, Error> {
        let mut place = self.lock();
        let kept = match mem::replace(&mut *place, Place::Out) {
            Place::Nowhere => None,
            Place::Here(kept) => Some(kept),
            Place::Out => {
                return Err(Error::Io(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "the connection to the in-memory database is still held, or was detached \
                     from its pool",
                )));
            }
            Place::Lost => {
                *place = Place::Lost;
                return Err(lost());
            }
            Place::Closed => {
                *place = Place::Closed;
                return Err(Error::PoolClosed);
            }
        };
        Ok(Loan { memory: Some(Arc::clone(self)), kept })
    }

    /// Takes the connection back.
    pub(crate) fn keep(&self, kept: Kept) {
        kept.brake.store(true, Ordering::Release);
        self.put(Place::Here(kept));
    }

    /// Notes whether hooks have still to act on the first connection.
    pub(crate) fn set_unfinished(&self, unfinished: bool) {
        self.unfinished.store(unfinished, Ordering::Relaxed);
    }

    /// Whether what there is was left half done.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Notes the settings of the connection as its hooks have left them.
    pub(crate) fn note_baseline(&self, settings: &Baseline) {
        self.baseline.get_or_init(|| settings.clone());
        self.set_unfinished(false);
    }

    /// The settings that its connection is to be lent with.
    pub(crate) fn baseline(&self) -> Option<&Baseline> {
        self.baseline.get()
    }

    /// The pool was closed: the database ends with its connection.
    pub(crate) fn close(&self) {
        let last = mem::replace(&mut *self.lock(), Place::Closed);
        drop(last);
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.lock(), Place::Closed)
    }

    fn put(&self, new: Place) {
        let mut place = self.lock();
        let unwanted =
            if matches!(*place, Place::Closed) { new } else { mem::replace(&mut *place, new) };
        // Unlocked first: dropping a connection closes its database.
        drop(place);
        drop(unwanted);
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection on its way through a `connect`. If that fails or is dropped, it goes back.
pub(crate) struct Loan {
    /// `None` once the pool has the connection.
    memory: Option<Arc<Memory>>,
    /// `None` if it was never opened.
    pub(crate) kept: Option<Kept>,
}

/// Why a database in memory is gone.
pub(crate) fn lost() -> Error {
    Error::Configuration(
        "the database in memory is lost: the driver's thread, to which it belonged, has ended in a \
         panic; build a new pool, which begins with an empty one"
            .into(),
    )
}

impl Loan {
    /// The driver's thread has ended: there is no database any more, and none is made up in its
    /// place.
    pub(crate) fn lose(mut self) {
        if let Some(memory) = self.memory.take() {
            memory.put(Place::Lost);
        }
    }

    /// Ends the loan in the hands of the pool.
    pub(crate) fn lend(mut self) -> Option<Kept> {
        let kept = self.kept.take();
        if kept.is_some() {
            self.memory = None;
        }
        kept
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        match (self.memory.take(), self.kept.take()) {
            (None, _) => {}
            (Some(memory), Some(kept)) => memory.keep(kept),
            (Some(memory), None) => memory.put(Place::Nowhere),
        }
    }
}
