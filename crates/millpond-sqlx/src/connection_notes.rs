//! What managers record on a connection: the validity of its caches, session locks, buffer sizes,
//! settings, and its identity check.

use crate::backend::Unfinished;
use crate::statement_cache::SchemaChanges;
use crate::sync_state::SyncState;
use crate::tracked::{IdentityCheck, Tracked};
use crate::transaction_state::TransactionLost;
use sqlx::{Connection, Database, Error};
use std::mem;

/// The error of an operation on a broken connection.
const BROKEN: &str =
    "the connection was lost or is out of sync with its server: drop it and acquire another one";

impl<DB: Database> Tracked<DB> {
    /// Returns an error if the connection is out of sync.
    pub(crate) async fn ensure_in_sync(&mut self) -> Result<(), Error> {
        if self.sync_state == SyncState::Broken {
            return Err(Error::Protocol(BROKEN.to_owned()));
        }
        self.refuse_if_given_up()?;
        if self.needs_sync_check {
            // It could not be revoked when the driver's connection was used directly.
            self.resolve_cancel().await;
            self.refuse_if_given_up()?;
            let (backend, unfinished) = (self.backend(), self.unfinished);
            let (conn, guard) = self.begin_operation(SyncState::Clean);
            guard.track(backend.check_sync(conn, unfinished)).await?;
            self.needs_sync_check = false;
        }
        Ok(())
    }

    /// Shares schema changes with the other connections of the pool. Managers call it on a new
    /// connection.
    pub fn share_schema_changes(&mut self, changes: &SchemaChanges) {
        self.cache.share(changes);
    }

    /// Returns true if the driver's cached statements and types are outdated.
    pub fn is_outdated(&self) -> bool {
        self.cache.is_outdated()
    }

    /// Records whether an error of a dropped statement shows that the driver's caches are outdated,
    /// or that a savepoint is gone, for backends that have read such an error.
    pub fn note_late_error(&mut self, error: &Error) {
        if self.tracker.is_open() && self.backend().is_savepoint_gone(error) {
            self.tracker.lose(TransactionLost::by_savepoint());
        }
        self.cache.note(self.backend().cache_validity(error));
    }

    /// Clears the driver's cached statements and types if they are outdated. Managers call it
    /// before the connection is lent again.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        if self.cache.is_outdated() {
            let (backend, as_of) = (self.backend(), self.cache.noticed());
            let (conn, guard) = self.begin_operation(SyncState::Clean);
            guard.track(backend.clear_caches(conn)).await?;
            self.cache.mark_cleared(as_of);
        }
        Ok(())
    }

    /// Records that the driver's connection is about to be used directly, where errors of dropped
    /// operations go unnoticed.
    pub(crate) fn note_direct_use(&mut self) {
        if self.has_dropped() || self.backend().clears_cache_after_direct_use() {
            self.cache.mark_outdated();
        }
    }

    /// Returns true if an operation was dropped and not drained.
    pub(crate) fn has_dropped(&self) -> bool {
        self.unfinished != Unfinished::Nothing || self.is_interrupted()
    }

    /// Records that a reset has undone what `on_connect` hooks may have set, for managers.
    pub fn note_hooks_undone(&mut self) {
        self.hooks_undone = true;
    }

    /// Returns and clears the note.
    pub fn take_hooks_undone(&mut self) -> bool {
        mem::take(&mut self.hooks_undone)
    }

    /// Skips the hooks for new connections, which have already run: for managers that return an
    /// existing connection from `connect`.
    pub fn note_hooks_done(&mut self) {
        self.hooks_done = true;
    }

    /// Returns and clears whether a session lock may have been taken, by a statement that [takes
    /// one](crate::backend_api::Backend::takes_session_lock) or through the driver's connection.
    /// `migrate!().run(&pool)` does the latter, and if it fails it leaves a lock behind that blocks
    /// every other migrator. So managers release such locks.
    pub fn take_may_hold_locks(&mut self) -> bool {
        mem::take(&mut self.may_hold_locks)
    }

    /// Returns whether a session lock may have been taken, without
    /// [clearing](Self::take_may_hold_locks) it.
    pub fn may_hold_locks(&self) -> bool {
        self.may_hold_locks
    }

    /// Returns true if an operation may have enlarged the driver's buffers. Managers
    /// [`shrink`](Self::shrink) them then.
    pub fn has_large_buffers(&self) -> bool {
        self.large_buffers
    }

    /// Shrinks the driver's buffers, which otherwise stay as large as the largest value.
    pub fn shrink(&mut self) {
        self.large_buffers = false;
        self.driver_mut().shrink_buffers();
    }

    /// Returns the session's settings after its hooks ran; empty if they were never recorded.
    pub fn baseline(&self) -> &[Option<String>] {
        &self.baseline
    }

    /// Records the session settings that a reset restores, for managers, in an order of their
    /// choice.
    pub fn set_baseline(&mut self, settings: Vec<Option<String>>) {
        self.baseline = settings;
    }

    /// Sets a check that runs before every checkout, for managers: whether the connection still
    /// leads to what it was opened for. If it does not, the borrower gets the error, and the
    /// connection is closed. The check must not block.
    pub fn set_identity_check(&mut self, identity_check: IdentityCheck) {
        self.identity_check = Some(identity_check);
    }

    /// Removes the check that was [set](Self::set_identity_check), for managers whose check owns
    /// something that must outlive the close.
    pub fn take_identity_check(&mut self) -> Option<IdentityCheck> {
        self.identity_check.take()
    }

    /// Runs the identity check, if one is set.
    pub(crate) fn check_identity(&self) -> Result<(), Error> {
        self.identity_check.as_ref().map_or(Ok(()), |check| check())
    }
}
