//! The connection that a scripted manager opens.

use crate::recorder::Socket;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A connection to nowhere, or around the one that another manager has opened. Its drop is counted
/// by the manager that opened it. A clone is the same connection, as that of a multiplexed one.
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
    /// Whether `close` completed on it.
    closed_properly: AtomicBool,
    socket: Socket,
}

impl<C> ScriptedConnection<C> {
    pub(crate) fn new(real: C, id: u64, generation: u64, socket: Socket) -> Self {
        socket.recorder().open().alive += 1;
        let (dirty, closed_properly) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { real, body: Arc::new(Body { id, generation, dirty, closed_properly, socket }) }
    }

    /// The number that the pool gave it.
    pub fn id(&self) -> u64 {
        self.body.id
    }

    /// The pool's generation when it was opened.
    pub fn generation(&self) -> u64 {
        self.body.generation
    }

    /// Whether it is dirty: a ping fails, `triage` asks for a reset, and a reset makes it clean.
    pub fn is_dirty(&self) -> bool {
        self.body.dirty.load(Ordering::SeqCst)
    }

    /// Makes it dirty, or clean again.
    pub fn set_dirty(&mut self, dirty: bool) {
        self.body.dirty.store(dirty, Ordering::SeqCst);
    }

    /// The connection that the other manager has opened.
    pub fn real(&mut self) -> &mut C {
        &mut self.real
    }

    /// The other manager's connection, to be closed, and what is called when that has come to its
    /// end.
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
