//! The connection that a scripted manager opens.

use crate::books::Socket;
use std::fmt;

/// A connection to nowhere. Its drop is counted by the manager that opened it.
pub struct ScriptedConnection {
    id: u64,
    generation: u64,
    dirty: bool,
    /// Whether `close` came to its end on it.
    said_goodbye: bool,
    socket: Socket,
}

impl ScriptedConnection {
    pub(crate) fn new(id: u64, generation: u64, socket: Socket) -> Self {
        socket.books().open().alive += 1;
        Self { id, generation, dirty: false, said_goodbye: false, socket }
    }

    /// The number that the pool gave it.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The pool's generation when it was opened.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is dirty: a ping fails, `triage` asks for a reset, and a reset makes it clean.
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Makes it dirty, or clean again.
    pub fn set_dirty(&mut self, dirty: bool) {
        self.dirty = dirty;
    }

    pub(crate) fn say_goodbye(&mut self) {
        self.said_goodbye = true;
    }
}

impl Drop for ScriptedConnection {
    fn drop(&mut self) {
        let mut pages = self.socket.books().open();
        pages.alive -= 1;
        let fate = if self.said_goodbye { &mut pages.closed } else { &mut pages.dropped };
        fate.push(self.id);
    }
}

impl fmt::Debug for ScriptedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedConnection").field("id", &self.id).field("dirty", &self.dirty).finish_non_exhaustive()
    }
}
