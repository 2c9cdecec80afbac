//! The connection that a scripted manager opens.

use crate::recorder::Socket;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A connection to nothing, or a wrapper around one that another manager opened. The manager that
/// opened it counts its drop. Clones are the same connection, as with a multiplexer.
#[derive(Clone)]
pub struct ScriptedConnection<C = ()> {
    real: C,
    body: Arc<Body>,
}

/// State that the clones of a connection share.
struct Body {
    id: u64,
    generation: u64,
    dirty: AtomicBool,
    /// True once `close` has completed on the connection.
    closed_properly: AtomicBool,
    socket: Socket,
}

impl<C> ScriptedConnection<C> {
    pub(crate) fn new(real: C, id: u64, generation: u64, socket: Socket) -> Self {
        socket.recorder().open().alive += 1;
        let (dirty, closed_properly) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { real, body: Arc::new(Body { id, generation, dirty, closed_properly, socket }) }
    }

    /// Returns the number that the pool gave the connection.
    pub fn id(&self) -> u64 {
        self.body.id
    }

    /// Returns the pool's generation at the time of the connect.
    pub fn generation(&self) -> u64 {
        self.body.generation
    }

    /// Returns true if the connection is dirty. Then a ping fails, `triage` returns a reset, and a
    /// reset makes the connection clean.
    pub fn is_dirty(&self) -> bool {
        self.body.dirty.load(Ordering::SeqCst)
    }

    /// Marks the connection as dirty, or as clean.
    pub fn set_dirty(&mut self, dirty: bool) {
        self.body.dirty.store(dirty, Ordering::SeqCst);
    }

    /// Returns the wrapped connection.
    pub fn real(&mut self) -> &mut C {
        &mut self.real
    }

    /// Returns the wrapped connection, to be closed, and a function to call once the close has
    /// completed.
    pub(crate) fn into_real(self) -> (C, impl FnOnce()) {
        let Self { real, body } = self;
        (real, move || body.closed_properly.store(true, Ordering::SeqCst))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let mut records = self.socket.recorder().open();
        records.alive -= 1;
        let fate = if *self.closed_properly.get_mut() {
            &mut records.closed
        } else {
            &mut records.dropped
        };
        fate.push(self.id);
    }
}

impl<C> fmt::Debug for ScriptedConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedConnection")
            .field("id", &self.id())
            .field("dirty", &self.is_dirty())
            .finish_non_exhaustive()
    }
}
