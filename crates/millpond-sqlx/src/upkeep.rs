//! What a manager notes on a connection for later: session locks, memory, settings, and what it was
//! opened for.

use crate::sync_state::SyncState;
use crate::tracked::{Anchor, Tracked};
use sqlx::{Connection, Database, Error};
use std::mem;

/// The error of an operation on a connection that is lost.
const BROKEN: &str =
    "the connection was lost or is out of step with its server: drop it and acquire another one";

impl<DB: Database> Tracked<DB> {
    /// Refuses what follows on a connection whose answers would be those to other questions.
    pub(crate) async fn stay_in_step(&mut self) -> Result<(), Error> {
        if self.sync_state == SyncState::Broken {
            return Err(Error::Protocol(BROKEN.to_owned()));
        }
        self.refuse_if_given_up()?;
        if self.shown {
            // It could not be called off when the driver's own connection was handed out.
            self.stand_down().await;
            self.refuse_if_given_up()?;
            let backend = self.backend();
            let (conn, watch) = self.watched(SyncState::Clean);
            watch.follow(backend.in_step(conn)).await?;
            self.shown = false;
        }
        Ok(())
    }

    /// Notes that a reset has undone what `on_connect` hooks may have set: for managers.
    pub fn note_hooks_undone(&mut self) {
        self.hooks_undone = true;
    }

    /// Whether that was noted since it was last asked for.
    pub fn take_hooks_undone(&mut self) -> bool {
        mem::take(&mut self.hooks_undone)
    }

    /// Has the hooks for new connections passed over, since they have acted on it before: for
    /// managers that hand a connection out anew.
    pub fn note_hooks_done(&mut self) {
        self.hooks_done = true;
    }

    /// Whether a session lock may have been taken since this was last asked: by a statement that
    /// [takes one](crate::backend_api::Backend::takes_session_lock), or by a borrower who had the
    /// driver's own connection. `migrate!().run(&pool)` has, and if it fails it leaves a lock
    /// behind that keeps every other migrator out. So managers release such locks.
    pub fn take_escaped(&mut self) -> bool {
        mem::take(&mut self.escaped)
    }

    /// Whether a session lock may have been taken, without [forgetting](Self::take_escaped) it.
    pub fn has_escaped(&self) -> bool {
        self.escaped
    }

    /// Whether an operation may have made the driver's buffers grow: for managers, who
    /// [`shrink`](Self::shrink) them then.
    pub fn is_bulky(&self) -> bool {
        self.bulky
    }

    /// Gives back the memory of what was large: the buffers stay as large as the largest value that
    /// went through them.
    pub fn shrink(&mut self) {
        self.bulky = false;
        self.driver_mut().shrink_buffers();
    }

    /// The settings of the session as its hooks have left them; empty if they were never noted.
    pub fn baseline(&self) -> &[Option<String>] {
        &self.baseline
    }

    /// Notes the settings of the session that a reset leads back to: for managers, in an order of
    /// their own.
    pub fn set_baseline(&mut self, settings: Vec<Option<String>>) {
        self.baseline = settings;
    }

    /// Has it asked before every loan whether what the connection leads to is still what it was
    /// opened for: for managers. If it is not, the borrower gets the error, and the connection is
    /// closed. Asking must not block.
    pub fn set_anchor(&mut self, anchor: Anchor) {
        self.anchor = Some(anchor);
    }

    /// Takes out what was [set](Self::set_anchor): for managers, who may have put something into it
    /// that outlives the close.
    pub fn take_anchor(&mut self) -> Option<Anchor> {
        self.anchor.take()
    }

    /// Whether what it leads to is still what it was opened for.
    pub(crate) fn holds(&self) -> Result<(), Error> {
        self.anchor.as_ref().map_or(Ok(()), |holds| holds())
    }
}
