//! Prepares a connection for the next operation of its borrower: what was dropped is drained, what
//! was abandoned is rolled back, and a transaction in doubt is looked for at the server.

use crate::backend::Unfinished;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use crate::transaction_state::TransactionState;
use sqlx::{Database, Error};
use std::sync::atomic::Ordering;

impl<DB: Database> Tracked<DB> {
    /// Prepares the connection for the borrower's next operation after one was dropped. Returns an
    /// error if the borrower's transaction is lost. The sync state does not improve.
    pub(crate) async fn resume(&mut self) -> Result<(), Error> {
        self.tracker.refuse_if_lost()?;
        self.refuse_if_overdue()?;
        self.drain_unfinished().await?;
        self.refresh().await?;
        if self.tracker.is_abandoned() {
            self.roll_back_everything().await?;
        }
        if self.tracker.has_to_ask(self.backend().refuses_after_failure()) {
            self.ask().await?;
        }
        self.tracker.refuse_if_lost()
    }

    /// Returns an error if the lease is older than `max_lease`: nothing more is sent then.
    pub(crate) fn refuse_if_overdue(&self) -> Result<(), Error> {
        self.lease.lease_expired().map_or(Ok(()), Err)
    }

    /// Drains an unfinished operation.
    pub(crate) async fn drain_unfinished(&mut self) -> Result<(), Error> {
        self.ensure_in_sync().await?;
        let unfinished = if self.is_interrupted() {
            self.unfinished.max(Unfinished::Rows)
        } else {
            self.unfinished
        };
        if unfinished == Unfinished::Nothing {
            return Ok(());
        }
        self.tracker.fail(None);
        // If this is dropped, an error in the drained answers goes unnoticed.
        let was_outdated = self.cache.set_outdated(true);
        match self.drain(unfinished).await {
            Ok(late_errors) => {
                self.interrupt_flag.store(false, Ordering::Release);
                self.cache.set_outdated(was_outdated);
                late_errors.iter().for_each(|error| self.note_late_error(error));
                if let Some(error) = late_errors.first() {
                    self.tracker.fail(Some(format!(
                        "(a statement that was dropped before it ended) {error}"
                    )));
                }
                Ok(())
            }
            Err(error) => {
                self.unfinished = Unfinished::Operation;
                self.degrade(SyncState::Interrupted);
                Err(error)
            }
        }
    }

    /// Rolls back whatever is open. The sync state does not improve.
    pub(crate) async fn roll_back_everything(&mut self) -> Result<(), Error> {
        let (sync_state, suspect) = (self.sync_state(), self.suspect);
        let driver_exposed = self.driver_exposed;
        // In case it is dropped.
        self.degrade(SyncState::Interrupted);
        self.unfinished = Unfinished::Operation;
        self.verify().await?;
        self.degrade(sync_state);
        (self.suspect, self.driver_exposed) = (suspect, driver_exposed);
        Ok(())
    }

    /// Queries the server for the state of the transaction.
    pub(crate) async fn ask(&mut self) -> Result<(), Error> {
        let (backend, mark) = (self.backend(), self.tracker.mark());
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        let state = guard.track(backend.transaction_state(conn, mark.as_deref())).await?;
        if state == TransactionState::None {
            self.forget_uncommitted_schema();
        }
        self.tracker.apply_server_state(state);
        Ok(())
    }

    /// Returns true if [`resume`](Self::resume) must run before the next statement.
    pub(crate) fn has_to_resume(&self) -> bool {
        let doubtful = self.needs_sync_check || self.sync_state == SyncState::Broken;
        doubtful
            || self.is_given_up()
            || self.is_interrupted()
            || self.unfinished != Unfinished::Nothing
            || self.tracker.needs_check()
            || self.cache.is_outdated()
            || self.lease.lease_expired().is_some()
    }

    /// Disables transaction chaining unless the borrower enabled it.
    pub(crate) async fn unchain(&mut self) -> Result<(), Error> {
        if self.tracker().chooses_completion() {
            return Ok(());
        }
        let backend = self.backend();
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        guard.track(backend.unchain(conn)).await
    }
}
