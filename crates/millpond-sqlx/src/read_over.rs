//! Reads over what is left of an operation that its borrower has cut off, before the next one of the same borrower.

use crate::backend::Unfinished;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Database, Error};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

const RESTLESS: &str = "an operation on this connection was dropped before it ended, and the server did not finish or \
                        cancel it within ping_timeout: drop the connection and acquire another one";

impl<DB: Database> Tracked<DB> {
    /// Waits until no cancel is on its way, and has none sent that has not been yet. Returns whether one was sent.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(crate) async fn stand_down(&mut self) -> bool {
        let Some(stopping) = &mut self.stopping else { return false };
        let sent = stopping.stand_down().await;
        self.stopping = None;
        sent
    }

    /// Reads over what is left of an operation that was cut off, and has it cancelled if that takes long. The error of
    /// what was cut off is the result.
    pub(crate) async fn read_over(&mut self, left: Unfinished) -> Result<Option<Error>, Error> {
        let stopper = self.stopper.as_deref().filter(|_| left == Unfinished::Operation && self.session().is_some());
        let Some((patience, limit)) = stopper.map(|stopper| (stopper.patience(), stopper.limit())) else {
            return self.read_over_once(left, true).await;
        };
        let (mut first, mut is_last, mut wait) = (None, false, patience);
        loop {
            match timeout(wait, self.read_over_once(left, false)).await {
                Ok(read_over) => {
                    let error = read_over?;
                    first = first.or(error);
                    if !self.stand_down().await {
                        return Ok(first);
                    }
                    // The cancel may have come too late for the statement: what it has hit is read over as well.
                }
                Err(_) if is_last => return Err(Error::Io(io::Error::new(io::ErrorKind::TimedOut, RESTLESS))),
                Err(_) => self.wait_for_cancel(limit).await,
            }
            (is_last, wait) = (true, limit);
        }
    }

    /// Waits until the cancel that is due was sent, for a limited time.
    async fn wait_for_cancel(&mut self, limit: Duration) {
        if let Some(stopping) = &mut self.stopping
            && timeout(limit, stopping.until_sent()).await.is_ok()
        {
            self.stopping = None;
        }
    }

    async fn read_over_once(&mut self, left: Unfinished, has_alarm: bool) -> Result<Option<Error>, Error> {
        let backend = self.backend();
        let effect = if left == Unfinished::Rows { SyncState::Undrained } else { SyncState::Cut };
        let (conn, mut watch) = self.watched(effect);
        if !has_alarm {
            // It has a limit of its own, within which a statement that has exceeded the other one is cancelled.
            watch.silence();
        }
        watch.follow(backend.resume(conn, left)).await
    }
}
