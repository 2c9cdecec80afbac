//! Checks the schema before and after a statement whose columns depend on it.
//!
//! Needed where a driver returns cached columns of a statement although a migration has changed
//! them. The second check covers the time between the first one and the statement; in a transaction
//! the database's snapshot does.

use crate::sql_text::StatementEffect;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Connection, Database, Error};
use std::mem;

/// What must be done when the statement has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recheck {
    None,
    /// Note that the transaction has its snapshot now.
    Frozen,
    Required,
}

/// The error if the schema changed during the statement.
const SCHEMA_CHANGED: &str = "the schema was changed while the statement was executed, so its \
    columns may be mixed up: the statement took effect; read its rows again";

impl<DB: Database> Tracked<DB> {
    /// Clears the driver's caches if the columns of a statement may have changed.
    pub(crate) async fn check_schema(&mut self, sql: &str) -> Result<Recheck, Error> {
        let backend = self.backend();
        if !backend.depends_on_schema(sql) {
            return Ok(Recheck::None);
        }
        let inside = self.sync_state() >= SyncState::InDoubt;
        let mut schema = mem::take(self.schema_mut());
        // Kept in case the check is dropped.
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

    /// Checks that the columns of a statement that has ended were current.
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
