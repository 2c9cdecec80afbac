//! What a database brings along to be pooled: one implementation a backend crate.

use crate::sql_text::{StatementEffect, effect_of, first_keyword};
use crate::statement_cache::CacheValidity;
use crate::sync_state::SyncState;
use crate::transaction_state::TransactionState;
use millpond_core::async_trait;
use sqlx::{Connection, Database, Describe, Error, SqlStr};
use std::fmt::Debug;

/// What differs from database to database, apart from the manager that opens connections.
///
/// Every method has a default that is safe to forget. A backend crate implements it for a type of
/// its own (the database's type belongs to sqlx) and hands a `static` to
/// [`Tracked::new`](crate::Tracked::new).
#[async_trait]
pub trait Backend<DB: Database>: Debug + Send + Sync + 'static {
    /// What a statement may leave behind, by its text. The default is [`effect_of`].
    fn effect(&self, sql: &str) -> StatementEffect {
        effect_of(sql)
    }

    /// What the end of a transaction may leave behind, committed or rolled back. By default
    /// nothing.
    fn transaction_end(&self) -> SyncState {
        SyncState::Clean
    }

    /// What is put around every statement, where a connection is lent another server for each
    /// transaction. By default a connection is a session, and nothing is put around anything.
    fn transaction_wrapper(&self) -> Option<TransactionWrapper> {
        None
    }

    /// Whether a text cannot be executed in a transaction, and needs none, where others are
    /// [enclosed](Self::transaction_wrapper) in one. By default no text is.
    fn runs_outside_transaction(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Called when a transaction that was begun by the driver is about to be committed or rolled
    /// back, before the driver does it. Where a connection is lent another server for each
    /// transaction this ends it and leaves nothing of its session behind. By default nothing is
    /// done.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn before_end(&self, conn: &mut DB::Connection, commits: bool) -> Result<(), Error> {
        let _ = (conn, commits);
        Ok(())
    }

    /// Refuses a statement that cannot work on such a connection. By default all are admitted.
    fn admit(&self, sql: &str) -> Result<(), Error> {
        let _ = sql;
        Ok(())
    }

    /// Whether the driver's `fetch_optional` leaves nothing of the statement behind. By default it
    /// does not: the rows after the first one are read and thrown away, so that `fetch_one` is not
    /// a reason for doubt.
    fn stops_after_one_row(&self) -> bool {
        false
    }

    /// Whether a text may hold no statement at all, only blanks and comments. Every other command
    /// ends with the result of its last statement; an answer that ends without one is an error. The
    /// default takes a text without a keyword for an empty one.
    fn may_be_empty(&self, sql: &str) -> bool {
        first_keyword(sql).is_none()
    }

    /// Whether a statement is left to end by itself when its rows are dropped after the first one
    /// has come, by its text: where it has changed all rows by then, and an interrupt would undo
    /// that. By default it is interrupted.
    fn ends_by_itself(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Describes a statement, where the driver's own `describe` is not safe to call. By default it
    /// is called.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn describe(
        &self,
        conn: &mut DB::Connection,
        sql: &SqlStr,
    ) -> Result<Option<Describe<DB>>, Error> {
        let _ = (conn, sql);
        Ok(None)
    }

    /// Called when the driver's `fetch_optional` gave no row, where that [is
    /// used](Self::stops_after_one_row): an error says that the driver stopped before the end of
    /// the command. By default it is believed.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn confirm(&self, conn: &mut DB::Connection) -> Result<(), Error> {
        let _ = conn;
        Ok(())
    }

    /// What an error says about the connection on which it happened. By default an error of the
    /// database itself ends the statement and nothing more; one of the transport or the protocol
    /// ends the connection; all others are doubtful.
    fn error_impact(&self, error: &Error) -> ErrorImpact {
        match error {
            Error::Database(_) => ErrorImpact::InSync,
            Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => {
                ErrorImpact::Broken
            }
            _ => ErrorImpact::Doubt,
        }
    }

    /// Whether an error may mean that the server is no longer the one to talk to: see
    /// [`FailoverDetector`](crate::backend_api::FailoverDetector). By default none does.
    fn is_suspicious(&self, error: &Error) -> bool {
        let _ = error;
        false
    }

    /// Whether an error means that what the driver remembers of statements and types is out of
    /// date. By default none does.
    fn cache_validity(&self, error: &Error) -> CacheValidity {
        let _ = error;
        CacheValidity::Valid
    }

    /// Whether the arguments of a statement are so large that the driver's buffers should not stay
    /// as large. They are not changed. By default none are.
    fn has_large_arguments(&self, arguments: &mut DB::Arguments) -> bool {
        let _ = arguments;
        false
    }

    /// Whether a row is so large that the driver's buffers should not stay as large. By default
    /// none is.
    fn is_large(&self, row: &DB::Row) -> bool {
        let _ = row;
        false
    }

    /// Whether a statement may take a lock that its session keeps, by its text: a migration's, for
    /// one. Such a connection counts as one whose driver was used unseen: managers release its
    /// locks. By default none does.
    fn takes_session_lock(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Whether a statement may have messages sent to its session that the driver does not expect
    /// among its answers, by its text; asked only where [`effect`](Self::effect) is not `None`.
    /// Managers end that as they release locks. By default none does.
    fn subscribes(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Whether a statement may leave something in its session that only its end undoes, by its
    /// text; asked only where [`effect`](Self::effect) is not `None`. By default none does.
    fn outlasts_reset(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Whether a statement may make the server forget what the driver has prepared, by its text;
    /// asked only where [`effect`](Self::effect) is not `None`. By default none does.
    fn deallocates(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Makes the driver forget what it remembers of statements and types. By default it remembers
    /// nothing.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn clear_caches(&self, conn: &mut DB::Connection) -> Result<(), Error> {
        let _ = conn;
        Ok(())
    }

    /// Has the driver forget what it remembers of statements and of the schema before it executes
    /// anything else, without waiting for that. Called when its own connection is handed out, where
    /// nobody [looks](Self::look) at the schema. By default the driver notices by itself that the
    /// schema has changed.
    fn deallocate_then_execute(&self, conn: &mut DB::Connection) {
        let _ = conn;
    }

    /// Whether the columns of a statement's rows follow from the schema, where the driver would go
    /// on with those that it remembers when the schema has changed. By default it notices by
    /// itself.
    fn depends_on_schema(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Looks whether the schema is still the one of `schema`, and makes the driver forget what it
    /// remembers if not. Called before a statement that [depends on it](Self::depends_on_schema);
    /// `inside` says that a transaction may be open.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off, and nothing is known of the
    /// schema.
    async fn check_schema(
        &self,
        conn: &mut DB::Connection,
        schema: &mut KnownSchema,
        sql: &str,
        inside: bool,
    ) -> Result<(), Error> {
        let _ = (conn, schema, sql, inside);
        Ok(())
    }

    /// Whether the schema is still the one of `schema`, now that the statement has ended. Called
    /// outside of transactions.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn recheck_schema(
        &self,
        conn: &mut DB::Connection,
        schema: &KnownSchema,
    ) -> Result<bool, Error> {
        let _ = (conn, schema);
        Ok(true)
    }

    /// Called before the next operation of the *same* borrower on a connection of which an
    /// operation was cut off, with what is left of it. The default pings, which waits until the
    /// server is through with what was cut. An error is the operation's error. An error of what was
    /// cut off, which nobody else will see, is the result.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection stays as it was: cut.
    async fn resume(
        &self,
        conn: &mut DB::Connection,
        unfinished: Unfinished,
    ) -> Result<Option<Error>, Error> {
        let _ = unfinished;
        conn.ping().await.map(|()| None)
    }

    /// Asks the server whether a transaction is open; with a [mark](Self::mark), whether it is the
    /// one that was marked. By default it is never known, so that every error in a transaction
    /// loses it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the server is asked again.
    async fn transaction_state(
        &self,
        conn: &mut DB::Connection,
        mark: Option<&str>,
    ) -> Result<TransactionState, Error> {
        let _ = (conn, mark);
        Ok(TransactionState::None)
    }

    /// Marks the open transaction, so that another one that takes its place is not taken for it. By
    /// default there is no mark.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn mark(&self, conn: &mut DB::Connection) -> Result<Option<String>, Error> {
        let _ = conn;
        Ok(None)
    }

    /// Whether a [mark](Self::mark) is a savepoint, which goes if one that was set before it is
    /// released or rolled back to. By default it is.
    fn mark_is_savepoint(&self) -> bool {
        true
    }

    /// Called before a COMMIT or ROLLBACK that the borrower writes in SQL, without saying there
    /// whether another transaction follows: sees to it that none does, whatever a function or a
    /// trigger has set. By default none does anyway.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn unchain(&self, conn: &mut DB::Connection) -> Result<(), Error> {
        let _ = conn;
        Ok(())
    }

    /// Whether the server refuses every statement in a transaction after one that has failed, so
    /// that it need not be asked after an error. By default it does not.
    fn refuses_after_failure(&self) -> bool {
        false
    }

    /// Whether a statement that begins with this keyword may end the transaction in which it is
    /// executed, beside those that are made for that. By default every one may.
    fn ends_transaction(&self, keyword: &str) -> MayEnd {
        let _ = keyword;
        MayEnd::Perhaps
    }

    /// Called before the next operation of the *same* borrower after it had the driver's own
    /// connection. An error says that answers would be those to other questions. By default the
    /// driver is trusted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection counts as cut off.
    async fn check_sync(&self, conn: &mut DB::Connection) -> Result<(), Error> {
        let _ = conn;
        Ok(())
    }

    /// Verifies that nothing is open on a connection, or makes it so, and says what is known of it
    /// then. Called after hooks have had the driver's connection, and by
    /// [`Tracked::verify`](crate::Tracked::verify), which managers call from their `reset`. By
    /// default nothing is verified and the connection stays [`InDoubt`](SyncState::InDoubt).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection is closed.
    async fn verify(&self, conn: &mut DB::Connection) -> Result<Verified, Error> {
        let _ = conn;
        Ok(Verified::Not)
    }
}

/// What a connection has seen of the schema: for backends. Nothing, when something was done that
/// may have changed it.
#[derive(Debug, Default)]
pub struct KnownSchema {
    /// How to ask for the versions of the schema.
    pub version_query: String,
    /// The versions at the last look; none if it is not known.
    pub versions: Vec<i64>,
    /// Whether the open transaction, if there is one, has a snapshot that nobody else changes.
    pub is_frozen: bool,
    /// Whether the schema may have been changed here, in a transaction that may be rolled back:
    /// another change would then have the same version.
    pub(crate) uncommitted: bool,
}

impl KnownSchema {
    /// Nothing is known, since something was done that may have changed the schema.
    pub(crate) fn unknown() -> Self {
        Self { uncommitted: true, ..Self::default() }
    }
}

/// What a verification found.
#[derive(Debug)]
pub enum Verified {
    /// Nothing is open on the connection.
    InSync {
        /// The first error of what was cut off on it, which nobody else sees.
        late_error: Option<Error>,
    },
    /// Nothing was verified.
    Not,
}

/// How many bytes make a row or arguments large: see [`Backend::is_large`] and
/// [`Backend::has_large_arguments`].
pub const LARGE: usize = 128 * 1024;

/// How a connection uses a server that it is lent for one transaction.
#[derive(Debug, Clone, Copy)]
pub struct TransactionWrapper {
    /// Begins a transaction, and forgets what others have prepared on that server under names that
    /// the driver would give.
    pub begin: &'static str,
    /// Commits it and leaves nothing of the session behind. It fails in a transaction that has
    /// failed.
    pub commit: &'static str,
    /// Rolls it back and leaves nothing of the session behind.
    pub rollback: &'static str,
    /// Forgets what was prepared so far: from time to time in a long transaction.
    pub deallocate: &'static str,
}

/// What an error says about the connection on which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorImpact {
    /// The statement ended, and the connection is in step.
    InSync,
    /// The connection has to be verified before it is lent again.
    Doubt,
    /// The connection is of no use any more.
    Broken,
}

/// What a borrower left unfinished on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Unfinished {
    /// Every operation has ended.
    #[default]
    Nothing,
    /// Rows of a statement were dropped after one had come whole.
    Rows,
    /// An operation was dropped while it waited for the server, or panicked.
    Operation,
}

/// Whether a statement may end the transaction in which it is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayEnd {
    /// It cannot.
    Never,
    /// It commits it.
    Commits,
    /// What it does is not known: it may commit, roll back or begin another one.
    Perhaps,
}
