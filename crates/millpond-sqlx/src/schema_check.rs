//! Looks at the schema before a statement whose columns follow from it, and once more when it has
//! ended.
//!
//! Needed where a driver answers with the columns that it remembers of a statement although a
//! migration has changed them. The second look closes the gap between the first one and the
//! statement; in a transaction the database does so.

use crate::sql_text::Effect;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Connection, Database, Error};
use std::mem;

/// What has to be done when the statement has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookBack {
    No,
    /// The transaction has its snapshot now.
    Held,
    Again,
}

/// What is said when the schema changes at the very moment.
const CHANGED: &str = "the schema was changed while the statement was executed, so its columns may \
    be mixed up: it was executed, and its rows are to be read again";

impl<DB: Database> Tracked<DB> {
    /// Sees to it that the driver knows the columns that a statement gives now.
    pub(crate) async fn look(&mut self, sql: &str) -> Result<LookBack, Error> {
        let backend = self.backend();
        if !backend.depends_on_schema(sql) {
            return Ok(LookBack::No);
        }
        let inside = self.sync_state() >= SyncState::Raw;
        let mut seen = mem::take(self.seen_mut());
        // It stays so if the look is cut off.
        self.seen_mut().unsettled = seen.unsettled;
        let (conn, watch) = self.watched(SyncState::Clean);
        watch.follow(backend.look(conn, &mut seen, sql, inside)).await?;
        *self.seen_mut() = seen;
        Ok(if self.driver().is_in_transaction() {
            LookBack::Held
        } else if backend.effect(sql) == Effect::None {
            LookBack::Again
        } else {
            LookBack::No
        })
    }

    /// Sees to it that the columns of a statement that has ended were the right ones.
    pub(crate) async fn look_back(&mut self, look: LookBack) -> Result<(), Error> {
        match look {
            LookBack::No => Ok(()),
            LookBack::Held => {
                self.seen_mut().held = true;
                Ok(())
            }
            LookBack::Again => {
                let (backend, seen) = (self.backend(), mem::take(self.seen_mut()));
                self.seen_mut().unsettled = seen.unsettled;
                let (conn, watch) = self.watched(SyncState::Clean);
                if watch.follow(backend.look_again(conn, &seen)).await? {
                    *self.seen_mut() = seen;
                    Ok(())
                } else {
                    Err(Error::Protocol(CHANGED.to_owned()))
                }
            }
        }
    }
}
