//! Looks at the schema before a statement whose columns follow from it, and once more when it has
//! ended.
//!
//! Needed where a driver answers with the columns that it remembers of a statement although a
//! migration has changed them. The second look closes the gap between the first one and the
//! statement; in a transaction the database does so.

use crate::sql_text::StatementEffect;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Connection, Database, Error};
use std::mem;

/// What has to be done when the statement has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recheck {
    None,
    /// The transaction has its snapshot now.
    Frozen,
    Required,
}

/// What is said when the schema changes at the very moment.
const SCHEMA_CHANGED: &str = "the schema was changed while the statement was executed, so its \
    columns may be mixed up: it was executed, and its rows are to be read again";

impl<DB: Database> Tracked<DB> {
    /// Sees to it that the driver knows the columns that a statement gives now.
    pub(crate) async fn check_schema(&mut self, sql: &str) -> Result<Recheck, Error> {
        let backend = self.backend();
        if !backend.depends_on_schema(sql) {
            return Ok(Recheck::None);
        }
        let inside = self.sync_state() >= SyncState::InDoubt;
        let mut schema = mem::take(self.schema_mut());
        // It stays so if the look is cut off.
        self.schema_mut().uncommitted = schema.uncommitted;
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        guard.track(backend.check_schema(conn, &mut schema, sql, inside)).await?;
        *self.schema_mut() = schema;
        Ok(if self.driver().is_in_transaction() {
            Recheck::Frozen
        } else if backend.effect(sql) == StatementEffect::None {
            Recheck::Required
        } else {
            Recheck::None
        })
    }

    /// Sees to it that the columns of a statement that has ended were the right ones.
    pub(crate) async fn recheck_schema(&mut self, recheck: Recheck) -> Result<(), Error> {
        match recheck {
            Recheck::None => Ok(()),
            Recheck::Frozen => {
                self.schema_mut().is_frozen = true;
                Ok(())
            }
            Recheck::Required => {
                let (backend, schema) = (self.backend(), mem::take(self.schema_mut()));
                self.schema_mut().uncommitted = schema.uncommitted;
                let (conn, guard) = self.begin_operation(SyncState::Clean);
                if guard.track(backend.recheck_schema(conn, &schema)).await? {
                    *self.schema_mut() = schema;
                    Ok(())
                } else {
                    Err(Error::Protocol(SCHEMA_CHANGED.to_owned()))
                }
            }
        }
    }
}
