//! What a connection keeps beyond its loan besides transactions: session locks that were taken unseen, and memory.

use crate::tracked::Tracked;
use sqlx::{Connection, Database};
use std::mem;

impl<DB: Database> Tracked<DB> {
    /// Whether a borrower had the driver's own connection since this was last asked. `migrate!().run(&pool)` does, and if it
    /// fails it leaves a lock of the session behind that keeps every other migrator out: so managers release such locks.
    pub fn take_escaped(&mut self) -> bool {
        mem::take(&mut self.escaped)
    }

    /// Whether an operation may have made the driver's buffers grow: for managers, who [`shrink`](Self::shrink) them then.
    pub fn is_bulky(&self) -> bool {
        self.bulky
    }

    /// Gives back the memory of what was large: the buffers stay as large as the largest value that went through them.
    pub fn shrink(&mut self) {
        self.bulky = false;
        self.driver_mut().shrink_buffers();
    }
}
