//! Keeps the single connection of an in-memory database alive until the pool closes.
//!
//! Closing that connection would destroy the database. So the manager owns the connection and lends
//! it to the pool: whether the pool closes it, drops it, or loses it with a runtime or a panic, it
//! is returned here, and the next `connect` verifies it and lends it again. Only closing the pool
//! ends the database.

use crate::baseline::Baseline;
use sqlx::{Error, SqliteConnection};
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The in-memory database of one pool.
#[derive(Default)]
pub(crate) struct InMemoryDatabase {
    /// Locked to move the connection in and out, never across an await.
    state: Mutex<State>,
    /// The connection's settings after its hooks ran for the first time.
    baseline: OnceLock<Baseline>,
    /// True until all hooks have succeeded on the first connection; a half-done setup is not kept.
    unfinished: AtomicBool,
}

/// Where the connection is.
#[derive(Default)]
enum State {
    /// Never opened.
    #[default]
    Unopened,
    /// Held by the pool, its borrower or a running `connect`.
    Lent,
    Idle(OpenConnection),
    /// The driver's thread ended, and the database with it.
    Lost,
    /// The pool was closed: a returned connection is dropped.
    Closed,
}

/// A connection and its interrupt flag.
pub(crate) struct OpenConnection {
    pub(crate) conn: SqliteConnection,
    pub(crate) interrupt_flag: Arc<AtomicBool>,
}

impl InMemoryDatabase {
    /// Takes the connection for a `connect`; it is empty if it was never opened.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Borrowed, Error> {
        let mut state = self.lock();
        let connection = match mem::replace(&mut *state, State::Lent) {
            State::Unopened => None,
            State::Idle(connection) => Some(connection),
            State::Lent => {
                return Err(Error::Io(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    "the connection to the in-memory database is still held, or was detached \
                     from its pool",
                )));
            }
            State::Lost => {
                *state = State::Lost;
                return Err(lost());
            }
            State::Closed => {
                *state = State::Closed;
                return Err(Error::PoolClosed);
            }
        };
        Ok(Borrowed { memory: Some(Arc::clone(self)), connection })
    }

    /// Takes the connection back.
    pub(crate) fn put_back(&self, connection: OpenConnection) {
        connection.interrupt_flag.store(true, Ordering::Release);
        self.put(State::Idle(connection));
    }

    /// Records whether hooks have yet to succeed on the first connection.
    pub(crate) fn set_unfinished(&self, unfinished: bool) {
        self.unfinished.store(unfinished, Ordering::Relaxed);
    }

    /// Returns true if the hooks have not yet succeeded on the first connection.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Records the connection's settings after its hooks ran.
    pub(crate) fn note_baseline(&self, settings: &Baseline) {
        self.baseline.get_or_init(|| settings.clone());
        self.set_unfinished(false);
    }

    /// Returns the settings to restore before the connection is lent.
    pub(crate) fn baseline(&self) -> Option<&Baseline> {
        self.baseline.get()
    }

    /// Closes the connection, and the database with it, because the pool was closed.
    pub(crate) fn close(&self) {
        let last = mem::replace(&mut *self.lock(), State::Closed);
        drop(last);
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.lock(), State::Closed)
    }

    fn put(&self, new: State) {
        let mut state = self.lock();
        let unwanted =
            if matches!(*state, State::Closed) { new } else { mem::replace(&mut *state, new) };
        // Unlocked first, because dropping a connection closes its database.
        drop(state);
        drop(unwanted);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection during a `connect`. If the `connect` fails or is dropped, the connection is put
/// back.
pub(crate) struct Borrowed {
    /// `None` once the pool has the connection.
    memory: Option<Arc<InMemoryDatabase>>,
    /// `None` if the database was never opened.
    pub(crate) connection: Option<OpenConnection>,
}

/// The error for a lost in-memory database.
pub(crate) fn lost() -> Error {
    Error::Configuration(
        "the in-memory database is lost: the driver's thread, which owned it, has panicked; build \
         a new pool, which begins with an empty one"
            .into(),
    )
}

impl Borrowed {
    /// Records that the driver's thread has ended: the database is lost, and is not replaced by an
    /// empty one.
    pub(crate) fn mark_lost(mut self) {
        if let Some(memory) = self.memory.take() {
            memory.put(State::Lost);
        }
    }

    /// Hands the connection to the pool.
    pub(crate) fn into_connection(mut self) -> Option<OpenConnection> {
        let connection = self.connection.take();
        if connection.is_some() {
            self.memory = None;
        }
        connection
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        match (self.memory.take(), self.connection.take()) {
            (None, _) => {}
            (Some(memory), Some(connection)) => memory.put_back(connection),
            (Some(memory), None) => memory.put(State::Unopened),
        }
    }
}
