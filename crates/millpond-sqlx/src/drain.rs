//! Drains a dropped operation before the same borrower's next one.

use crate::backend::Unfinished;
use crate::pending_cancel::{CancelOutcome, CancelReason, PendingCancel};
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Database, Error};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

const NOT_DRAINED: &str = "an operation on this connection was dropped before it ended, and the \
    server did not finish or cancel it within ping_timeout: drop the connection and \
    acquire another one";

/// How long rows are drained if their statement cannot be cancelled.
const ROWS_MAX: Duration = Duration::from_secs(10);

const TOO_MANY_ROWS: &str = "the rows of a statement on this connection were dropped before the \
    last one came, and the others did not come within 10 s: drop the connection and acquire \
    another one";

const LATE_CANCEL: &str = "an operation on this connection was dropped before it ended, and \
    whether the server will still cancel something on it is not known: drop the connection and \
    acquire another one";

impl<DB: Database> Tracked<DB> {
    /// Revokes a pending cancel, or waits for its outcome if it may have been sent. If the outcome
    /// is unknown, the connection is given up.
    ///
    /// # Cancel safety
    ///
    /// Can be called again if it was dropped.
    pub(crate) async fn resolve_cancel(&mut self) -> CancelOutcome {
        let Some(pending_cancel) = &mut self.pending_cancel else { return CancelOutcome::NotSent };
        let outcome = pending_cancel.resolve().await;
        self.pending_cancel = None;
        if outcome == CancelOutcome::Unknown {
            let _returned_by_the_next_statement = self.give_up(LATE_CANCEL);
        }
        outcome
    }

    /// Revokes a pending cancel. Returns `false` if it may have been sent already, so that it may
    /// hit the next statement. Managers close such a connection if it would be lent without a
    /// reset.
    pub fn revoke_cancel(&mut self) -> bool {
        let is_off = self.pending_cancel.as_mut().is_none_or(PendingCancel::revoke);
        if is_off {
            self.pending_cancel = None;
        }
        is_off
    }

    /// Returns true if nothing may be executed on the connection any more, because a cancel may
    /// still hit it or a dropped statement does not end. Managers close such a connection on
    /// return.
    pub fn is_given_up(&self) -> bool {
        self.given_up.is_some()
    }

    /// Returns an error if the connection was given up: nothing more is executed on it, and it is
    /// closed on return.
    pub(crate) fn refuse_if_given_up(&self) -> Result<(), Error> {
        self.given_up.map_or(Ok(()), |reason| Err(given_up(reason)))
    }

    /// Gives the connection up because a cancel may still hit its next statement.
    pub(crate) fn give_up_for_late_cancel(&mut self) -> Error {
        self.give_up(LATE_CANCEL)
    }

    fn give_up(&mut self, reason: &'static str) -> Error {
        self.given_up = Some(reason);
        self.degrade(SyncState::Interrupted);
        given_up(reason)
    }

    /// Drains an unfinished operation while its cancel is pending, within `ping_timeout`; then the
    /// connection is given up. Rows are drained for as long before their statement is cancelled.
    /// Returns the errors of what was dropped.
    pub(crate) async fn drain(&mut self, unfinished: Unfinished) -> Result<Vec<Error>, Error> {
        let is_rows = unfinished == Unfinished::Rows && self.pending_cancel.is_none();
        // Only the cancel is left if an earlier drain was dropped after the answer had arrived.
        let can_cancel = self.pending_cancel.is_some() || self.session().is_some();
        let Some(auto_cancel) = self.auto_cancel.as_deref().filter(|_| can_cancel) else {
            return self.drain_without_cancel(unfinished).await;
        };
        let mut limit = auto_cancel.limit();
        if is_rows {
            self.pending_cancel = self
                .known_session()
                .map(|session| auto_cancel.begin(session, CancelReason::RowsLeft));
            limit = limit.saturating_mul(2);
        }
        let deadline = Instant::now() + limit;
        let mut late_errors = Vec::new();
        loop {
            let Ok(drained) = timeout_at(deadline, self.drain_once(unfinished, false)).await else {
                return Err(self.give_up(NOT_DRAINED));
            };
            late_errors.append(&mut drained?);
            match timeout_at(deadline, self.resolve_cancel()).await {
                Ok(CancelOutcome::NotSent) => return Ok(late_errors),
                // The cancel may have arrived after the statement: its effect is drained as well.
                Ok(CancelOutcome::Answered) => {}
                Ok(CancelOutcome::Unknown) | Err(_) => return Err(self.give_up(LATE_CANCEL)),
            }
        }
    }

    /// Drains an unfinished operation that cannot be cancelled. The connection is given up if rows
    /// do not end within [`ROWS_MAX`].
    async fn drain_without_cancel(&mut self, unfinished: Unfinished) -> Result<Vec<Error>, Error> {
        let once = self.drain_once(unfinished, true);
        if unfinished != Unfinished::Rows {
            return once.await;
        }
        match timeout(ROWS_MAX, once).await {
            Ok(late_errors) => late_errors,
            Err(_) => Err(self.give_up(TOO_MANY_ROWS)),
        }
    }

    async fn drain_once(
        &mut self,
        unfinished: Unfinished,
        has_limit: bool,
    ) -> Result<Vec<Error>, Error> {
        let backend = self.backend();
        let effect = if unfinished == Unfinished::Rows {
            SyncState::Undrained
        } else {
            SyncState::Interrupted
        };
        let (conn, mut guard) = self.begin_operation(effect);
        if !has_limit {
            // `ping_timeout` applies instead, within which an expired statement is cancelled.
            guard.remove_limit();
        }
        guard.track(backend.resume(conn, unfinished)).await
    }
}

fn given_up(reason: &'static str) -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, reason))
}
