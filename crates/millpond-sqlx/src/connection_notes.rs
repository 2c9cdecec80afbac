//! What a manager notes on a connection for later: session locks, memory, settings, and what it was
//! opened for.

use crate::sync_state::SyncState;
use crate::tracked::{IdentityCheck, Tracked};
use sqlx::{Connection, Database, Error};
use std::mem;

/// The error of an operation on a connection that is lost.
const BROKEN: &str =
    "the connection was lost or is out of step with its server: drop it and acquire another one";

impl<DB: Database> Tracked<DB> {
    /// Refuses what follows on a connection whose answers would be those to other questions.
    pub(crate) async fn ensure_in_sync(&mut self) -> Result<(), Error> {
        if self.sync_state == SyncState::Broken {
            return Err(Error::Protocol(BROKEN.to_owned()));
        }
        self.refuse_if_given_up()?;
        if self.needs_sync_check {
            // It could not be called off when the driver's own connection was handed out.
            self.resolve_cancel().await;
            self.refuse_if_given_up()?;
            let backend = self.backend();
            let (conn, guard) = self.begin_operation(SyncState::Clean);
            guard.track(backend.check_sync(conn)).await?;
            self.needs_sync_check = false;
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
    pub fn take_may_hold_locks(&mut self) -> bool {
        mem::take(&mut self.may_hold_locks)
    }

    /// Whether a session lock may have been taken, without [forgetting](Self::take_may_hold_locks)
    /// it.
    pub fn may_hold_locks(&self) -> bool {
        self.may_hold_locks
    }

    /// Whether an operation may have made the driver's buffers grow: for managers, who
    /// [`shrink`](Self::shrink) them then.
    pub fn has_large_buffers(&self) -> bool {
        self.large_buffers
    }

    /// Gives back the memory of what was large: the buffers stay as large as the largest value that
    /// went through them.
    pub fn shrink(&mut self) {
        self.large_buffers = false;
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
    pub fn set_identity_check(&mut self, identity_check: IdentityCheck) {
        self.identity_check = Some(identity_check);
    }

    /// Takes out what was [set](Self::set_identity_check): for managers, who may have put something
    /// into it that outlives the close.
    pub fn take_identity_check(&mut self) -> Option<IdentityCheck> {
        self.identity_check.take()
    }

    /// Whether what it leads to is still what it was opened for.
    pub(crate) fn check_identity(&self) -> Result<(), Error> {
        self.identity_check.as_ref().map_or(Ok(()), |check| check())
    }
}
