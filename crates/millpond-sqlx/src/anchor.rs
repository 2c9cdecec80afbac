//! What a manager notes on a connection for later: its settings, and what it was opened for.

use crate::tracked::Tracked;
use sqlx::{Database, Error};

/// Whether what a connection leads to is still what it was opened for.
pub type Anchor = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

impl<DB: Database> Tracked<DB> {
    /// The settings of the session as its hooks have left them; empty if they were never noted.
    pub fn baseline(&self) -> &[Option<String>] {
        &self.baseline
    }

    /// Notes the settings of the session that a reset leads back to: for managers, in an order of their own.
    pub fn set_baseline(&mut self, settings: Vec<Option<String>>) {
        self.baseline = settings;
    }

    /// Has it asked before every loan whether what the connection leads to is still what it was opened for: for managers. If
    /// it is not, the borrower gets the error, and the connection is closed. Asking must not block.
    pub fn set_anchor(&mut self, anchor: Anchor) {
        self.anchor = Some(anchor);
    }

    /// Takes out what was [set](Self::set_anchor): for managers, who may have put something into it that outlives the close.
    pub fn take_anchor(&mut self) -> Option<Anchor> {
        self.anchor.take()
    }

    /// Whether what it leads to is still what it was opened for.
    pub(crate) fn holds(&self) -> Result<(), Error> {
        self.anchor.as_ref().map_or(Ok(()), |holds| holds())
    }
}
