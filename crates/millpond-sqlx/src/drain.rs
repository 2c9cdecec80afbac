//! Reads over what is left of an operation that its borrower has cut off, before the next one of
//! the same borrower.

use crate::backend::Unfinished;
use crate::pending_cancel::{CancelOutcome, PendingCancel};
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Database, Error};
use std::io;
use tokio::time::{Instant, timeout_at};

const NOT_DRAINED: &str = "an operation on this connection was dropped before it ended, and the \
    server did not finish or cancel it within ping_timeout: drop the connection and \
    acquire another one";

const LATE_CANCEL: &str = "an operation on this connection was dropped before it ended, and \
    whether the server will still cancel something on it is not known: drop the connection and \
    acquire another one";

impl<DB: Database> Tracked<DB> {
    /// Calls off the cancel of what was left behind, or waits for its outcome if it may have been
    /// sent. If that is unknown, the connection is given up.
    ///
    /// # Cancel safety
    ///
    /// It can be called again.
    pub(crate) async fn resolve_cancel(&mut self) -> CancelOutcome {
        let Some(pending_cancel) = &mut self.pending_cancel else { return CancelOutcome::NotSent };
        let outcome = pending_cancel.resolve().await;
        self.pending_cancel = None;
        if outcome == CancelOutcome::Unknown {
            let _returned_by_the_next_statement = self.give_up(LATE_CANCEL);
        }
        outcome
    }

    /// Calls off the cancel of what was left behind. Returns `false` if it may have been sent
    /// already, so that it may hit what is executed next: for managers, who close the connection
    /// then if it would be lent without a reset.
    pub fn revoke_cancel(&mut self) -> bool {
        let is_off = self.pending_cancel.as_mut().is_none_or(PendingCancel::revoke);
        if is_off {
            self.pending_cancel = None;
        }
        is_off
    }

    /// Fails if the connection was given up: nothing more is executed on it, and it is closed when
    /// it comes back.
    pub(crate) fn refuse_if_given_up(&self) -> Result<(), Error> {
        self.given_up.map_or(Ok(()), |reason| Err(given_up(reason)))
    }

    /// Gives the connection up because a cancel may still hit what is executed on it.
    pub(crate) fn give_up_for_late_cancel(&mut self) -> Error {
        self.give_up(LATE_CANCEL)
    }

    fn give_up(&mut self, reason: &'static str) -> Error {
        self.given_up = Some(reason);
        self.degrade(SyncState::Interrupted);
        given_up(reason)
    }

    /// Reads over what is left of an operation that was cut off, while its cancel is under way
    /// beside that. All of it takes `ping_timeout` at most; then the connection is given up. The
    /// error of what was cut off is the result.
    pub(crate) async fn drain(&mut self, unfinished: Unfinished) -> Result<Option<Error>, Error> {
        // Only its cancel may be left, if reading over was dropped after the answer had come.
        let is_cancelled = self.pending_cancel.is_some()
            || (unfinished == Unfinished::Operation && self.session().is_some());
        let auto_cancel = self.auto_cancel.as_deref().filter(|_| is_cancelled);
        let Some(limit) = auto_cancel.map(|auto_cancel| auto_cancel.limit()) else {
            return self.drain_once(unfinished, true).await;
        };
        let deadline = Instant::now() + limit;
        let mut first = None;
        loop {
            let Ok(drained) = timeout_at(deadline, self.drain_once(unfinished, false)).await else {
                return Err(self.give_up(NOT_DRAINED));
            };
            let error = drained?;
            first = first.or(error);
            match timeout_at(deadline, self.resolve_cancel()).await {
                Ok(CancelOutcome::NotSent) => return Ok(first),
                // It may have come too late for the statement: what it has hit is read over as
                // well.
                Ok(CancelOutcome::Answered) => {}
                Ok(CancelOutcome::Unknown) | Err(_) => return Err(self.give_up(LATE_CANCEL)),
            }
        }
    }

    async fn drain_once(
        &mut self,
        unfinished: Unfinished,
        has_limit: bool,
    ) -> Result<Option<Error>, Error> {
        let backend = self.backend();
        let effect = if unfinished == Unfinished::Rows {
            SyncState::Undrained
        } else {
            SyncState::Interrupted
        };
        let (conn, mut guard) = self.begin_operation(effect);
        if !has_limit {
            // It has a limit of its own, within which a statement that has exceeded the other one
            // is cancelled.
            guard.remove_limit();
        }
        guard.track(backend.resume(conn, unfinished)).await
    }
}

fn given_up(reason: &'static str) -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, reason))
}
