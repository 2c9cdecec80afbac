//! Checks the schema before and after a statement whose columns depend on it.
//!
//! Needed where a driver returns cached columns of a statement although a migration has changed
//! them. The second check covers the time between the first one and the statement; in a transaction
//! the database's snapshot does. If a statement names its columns, only their declared types are
//! cached, so an occasional check is enough.

use crate::backend::{KnownSchema, OpenTransaction};
use crate::sql_text::StatementEffect;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use sqlx::{Connection, Database, Error};
use std::mem;
use std::time::{Duration, Instant};

/// What must be done when the statement has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recheck {
    None,
    /// Record that the transaction has its snapshot now.
    Frozen,
    Required,
}

/// The error if the schema changed during the statement.
const SCHEMA_CHANGED: &str = "the schema was changed while the statement was executed, so its \
    columns may be mixed up: the statement took effect; read its rows again";

/// How long a check is valid for statements of which only declared types depend on the schema.
const CHECK_VALID_FOR: Duration = Duration::from_millis(100);

impl<DB: Database> Tracked<DB> {
    fn open_transaction(&self) -> OpenTransaction {
        match self.sync_state() < SyncState::InDoubt {
            true => OpenTransaction::None,
            false if self.may_have_written => OpenTransaction::Written,
            false => OpenTransaction::Unwritten,
        }
    }

    /// Records that a statement may write, if a transaction may be open or begin with it. Only
    /// statements that can only read do not count.
    pub(crate) fn note_write(&mut self, sql: &str, effect: SyncState) {
        if !self.may_have_written
            && !sql.is_empty()
            && effect.max(self.sync_state()) >= SyncState::InDoubt
        {
            self.may_have_written = !self.backend().only_reads(sql);
        }
    }

    /// Records that the driver's own connection may be used for anything. Returns the state of the
    /// open transaction before that.
    pub(crate) fn note_direct_write(&mut self) -> OpenTransaction {
        let open = self.open_transaction();
        self.schema = KnownSchema::unknown();
        self.may_have_written = true;
        open
    }

    /// Returns true if the schema must be checked before a statement.
    pub(crate) fn needs_schema_check(&self, sql: &str) -> bool {
        let backend = self.backend();
        backend.depends_on_schema(sql)
            || (self.lease.limits.declared_types
                && backend.only_reads(sql)
                && self.schema.checked_at.is_none_or(|at| at.elapsed() >= CHECK_VALID_FOR))
    }

    /// Clears the driver's caches if the columns of a statement may have changed.
    pub(crate) async fn check_schema(&mut self, sql: &str) -> Result<Recheck, Error> {
        let backend = self.backend();
        if !self.needs_schema_check(sql) {
            return Ok(Recheck::None);
        }
        let open = self.open_transaction();
        let mut schema = mem::take(self.schema_mut());
        // Kept in case the check is dropped.
        self.schema_mut().uncommitted = schema.uncommitted;
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        guard.track(backend.check_schema(conn, &mut schema, sql, open)).await?;
        schema.checked_at = Some(Instant::now());
        *self.schema_mut() = schema;
        Ok(if !backend.depends_on_schema(sql) {
            Recheck::None
        } else if self.driver().is_in_transaction() {
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
