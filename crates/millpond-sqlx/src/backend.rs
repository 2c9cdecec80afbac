//! The trait that a database backend implements.

use crate::sql_text::{StatementEffect, effect_of, first_keyword};
use crate::statement_cache::CacheValidity;
use crate::sync_state::SyncState;
use crate::transaction_state::TransactionState;
use millpond_core::async_trait;
use sqlx::{Connection, Database, Describe, Error, SqlStr};
use std::fmt::Debug;
use std::time::Instant;

/// Database-specific behaviour of tracked connections. Opening them is the manager's part.
///
/// Every method has a default that is safe to keep. A backend crate implements the trait for a type
/// of its own (the database's type belongs to sqlx) and passes a `static` to
/// [`Tracked::new`](crate::Tracked::new).
#[async_trait]
pub trait Backend<DB: Database>: Debug + Send + Sync + 'static {
    /// Returns what a statement may leave behind, judged by its text. The default is [`effect_of`].
    fn effect(&self, sql: &str) -> StatementEffect {
        effect_of(sql)
    }

    /// Returns options with which the driver opens a stand-in: a connection that leads to no
    /// server, and executes nothing. A pool of sqlx's opens it, and it is swapped with the
    /// connection of a lease. By default there is none, and `Acquire::begin` on a pool is an error.
    ///
    /// # Errors
    ///
    /// An error if there can be none now.
    fn stand_in(&self) -> Result<Option<<DB::Connection as Connection>::Options>, Error> {
        Ok(None)
    }

    /// Returns the statement that begins a transaction, if it is not sqlx's `BEGIN`.
    fn begin_statement(&self) -> Option<&'static str> {
        None
    }

    /// Returns the sync state after a commit or rollback. By default it is clean.
    fn transaction_end(&self) -> SyncState {
        SyncState::Clean
    }

    /// Returns the wrapper for each statement behind a transaction pooler; by default none.
    fn transaction_wrapper(&self) -> Option<TransactionWrapper> {
        None
    }

    /// Returns true if the text must run outside a transaction, so that it is not
    /// [wrapped](Self::transaction_wrapper) in one. By default no text must.
    fn runs_outside_transaction(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Called before the driver commits or rolls back a transaction that it began. Behind a
    /// transaction pooler this ends the transaction and clears the session. By default nothing is
    /// done.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn before_end(&self, conn: &mut DB::Connection, commits: bool) -> Result<(), Error> {
        let _ = (conn, commits);
        Ok(())
    }

    /// Returns an error for a statement that cannot work on this kind of connection. By default
    /// every statement is admitted.
    fn admit(&self, sql: &str) -> Result<(), Error> {
        let _ = sql;
        Ok(())
    }

    /// Returns true if the driver's `fetch_optional` leaves nothing of the statement pending. By
    /// default it is assumed to: the rows after the first one are read and discarded, so that
    /// `fetch_one` does not put the connection in doubt.
    fn stops_after_one_row(&self) -> bool {
        false
    }

    /// Returns true if a text may hold no statement at all, only blanks and comments. Every other
    /// command ends with the result of its last statement; an answer that ends without one is an
    /// error. By default a text without a keyword is empty.
    fn may_be_empty(&self, sql: &str) -> bool {
        first_keyword(sql).is_none()
    }

    /// Returns true if the statement must not be interrupted once it has returned a row: it has
    /// changed all rows by then, and an interrupt would undo that. By default every statement is
    /// interrupted when its rows are dropped.
    fn ends_by_itself(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Describes a statement without the driver's own `describe`, where that is not safe to call.
    /// By default returns `None`, and the driver's is called.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn describe(
        &self,
        conn: &mut DB::Connection,
        sql: &SqlStr,
    ) -> Result<Option<Describe<DB>>, Error> {
        let _ = (conn, sql);
        Ok(None)
    }

    /// Returns true if the driver may take a large row of a statement that is not prepared for the
    /// end of the answer. An answer that took long enough for such a row is
    /// [confirmed](Self::confirm) then. The default is false.
    fn misreads_large_rows(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Checks that the driver did not stop before the end of the command. Called when its
    /// `fetch_optional` returned no row, where that [is used](Self::stops_after_one_row), and at
    /// the end of an answer that it [may have misread](Self::misreads_large_rows). The default
    /// accepts it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn confirm(&self, conn: &mut DB::Connection) -> Result<(), Error> {
        let _ = conn;
        Ok(())
    }

    /// Returns what an error means for the connection on which it occurred. By default an error of
    /// the database itself ends only the statement, one of the transport or the protocol breaks the
    /// connection, and all others put it in doubt.
    fn error_impact(&self, error: &Error) -> ErrorImpact {
        match error {
            Error::Database(_) => ErrorImpact::InSync,
            Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => {
                ErrorImpact::Broken
            }
            _ => ErrorImpact::Doubt,
        }
    }

    /// Returns true if an error may indicate a failover: see
    /// [`FailoverDetector`](crate::backend_api::FailoverDetector). By default none does.
    fn is_suspicious(&self, error: &Error) -> bool {
        let _ = error;
        false
    }

    /// Returns true if an error shows that the driver's savepoint is gone, and the transaction goes
    /// on with what was to be rolled back to it. By default none does.
    fn is_savepoint_gone(&self, error: &Error) -> bool {
        let _ = error;
        false
    }

    /// Returns whether the driver's cached statements and types are still valid after an error. By
    /// default they are.
    fn cache_validity(&self, error: &Error) -> CacheValidity {
        let _ = error;
        CacheValidity::Valid
    }

    /// Returns true if the arguments of a statement are so large that the driver's buffers should
    /// be shrunk afterwards. The arguments are not changed. By default none are.
    fn has_large_arguments(&self, arguments: &mut DB::Arguments) -> bool {
        let _ = arguments;
        false
    }

    /// Returns true if a row is so large that the driver's buffers should be shrunk afterwards. By
    /// default none is.
    fn is_large(&self, row: &DB::Row) -> bool {
        let _ = row;
        false
    }

    /// Returns true if rows like this one may hold values that the driver decodes by a type
    /// definition that it has cached. Each row of the statement is [checked](Self::is_decodable)
    /// then. The default is false.
    fn has_volatile_types(&self, row: &DB::Row) -> bool {
        let _ = row;
        false
    }

    /// Returns true if the cached type definitions fit the row. If not, the row is an error, and
    /// the connection is closed on return. The default is true.
    fn is_decodable(&self, row: &DB::Row) -> bool {
        let _ = row;
        true
    }

    /// Returns true if a statement may take a lock that its session keeps, such as a migration's,
    /// judged by its text. Managers then release the session's locks on return. By default none
    /// does.
    fn takes_session_lock(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Returns true if a statement may make the server send messages that the driver does not
    /// expect among its answers, judged by its text; called only where [`effect`](Self::effect) is
    /// not `None`. Managers end such subscriptions when they release locks. By default none does.
    fn subscribes(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Returns true if a statement may leave something in its session that only closing the session
    /// undoes, judged by its text; called only where [`effect`](Self::effect) is not `None`. By
    /// default none does.
    fn outlasts_reset(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Returns true if a statement may deallocate what the driver has prepared, judged by its text;
    /// called only where [`effect`](Self::effect) is not `None`. By default none does.
    fn deallocates(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Returns true if a statement may change how others are parsed: the current database or search
    /// path, or a setting that is read when a statement is prepared. The driver's cached statements
    /// and types are cleared then. The default is false.
    fn changes_parse_settings(&self, sql: &str, effect: StatementEffect) -> bool {
        let _ = (sql, effect);
        false
    }

    /// Returns true if the driver's cached statements must be cleared after its connection was used
    /// directly, since that may have changed how statements are parsed. The default is false.
    fn clears_cache_after_direct_use(&self) -> bool {
        false
    }

    /// Queries the [transaction state](Self::transaction_state) after an `on_checkout` hook, and
    /// the settings that decide how statements are [parsed](Self::changes_parse_settings). By
    /// default those are not queried.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn state_after_hook(
        &self,
        conn: &mut DB::Connection,
    ) -> Result<(TransactionState, Option<String>), Error> {
        Ok((self.transaction_state(conn, None).await?, None))
    }

    /// Clears the driver's cached statements and types. By default there are none.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn clear_caches(&self, conn: &mut DB::Connection) -> Result<(), Error> {
        let _ = conn;
        Ok(())
    }

    /// Makes the driver clear its cached statements and schema before it executes anything else,
    /// without waiting for that. Called when the driver's connection is used directly, where no
    /// [check](Self::check_schema) of the schema runs. By default the driver notices a changed
    /// schema by itself.
    fn clear_caches_first(&self, conn: &mut DB::Connection, open: OpenTransaction) {
        let _ = (conn, open);
    }

    /// Returns true if the driver would use cached columns for this statement after the schema has
    /// changed. By default the driver notices the change by itself.
    fn depends_on_schema(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Returns true if a statement can only read, by its text, where the driver caches the declared
    /// types of its columns even if the schema has changed. The schema is then checked from time to
    /// time for pools [with declared types](crate::SqlPool::with_declared_types). Every other
    /// statement counts as one that [writes](OpenTransaction::Written). Defaults to false.
    fn only_reads(&self, sql: &str) -> bool {
        let _ = sql;
        false
    }

    /// Compares the schema with `schema`, and clears the driver's caches if it has changed. Called
    /// before a statement that [depends on it](Self::depends_on_schema).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted, and nothing is known of the
    /// schema.
    async fn check_schema(
        &self,
        conn: &mut DB::Connection,
        schema: &mut KnownSchema,
        sql: &str,
        open: OpenTransaction,
    ) -> Result<(), Error> {
        let _ = (conn, schema, sql, open);
        Ok(())
    }

    /// Returns true if the schema is still the one of `schema` after the statement has ended.
    /// Called outside of transactions.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn recheck_schema(
        &self,
        conn: &mut DB::Connection,
        schema: &KnownSchema,
    ) -> Result<bool, Error> {
        let _ = (conn, schema);
        Ok(true)
    }

    /// Drains a dropped operation before the same borrower's next one. Returns the errors of what
    /// was dropped, which nothing else reports; an `Err` is returned by the next operation. The
    /// default pings, which waits until the server has finished the dropped operation.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection stays interrupted.
    async fn resume(
        &self,
        conn: &mut DB::Connection,
        unfinished: Unfinished,
    ) -> Result<Vec<Error>, Error> {
        let _ = unfinished;
        conn.ping().await.map(|()| Vec::new())
    }

    /// Queries the server whether a transaction is open; with a [mark](Self::mark), whether it is
    /// the marked one. By default this is unknown, so that every error in a transaction loses it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server is queried again.
    async fn transaction_state(
        &self,
        conn: &mut DB::Connection,
        mark: Option<&str>,
    ) -> Result<TransactionState, Error> {
        let _ = (conn, mark);
        Ok(TransactionState::None)
    }

    /// Marks the open transaction, so that a later one cannot be mistaken for it. By default there
    /// is no mark.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn mark(&self, conn: &mut DB::Connection) -> Result<Option<String>, Error> {
        let _ = conn;
        Ok(None)
    }

    /// Returns true if a [mark](Self::mark) is a savepoint, which is lost when an earlier savepoint
    /// is released or rolled back to. By default it is.
    fn mark_is_savepoint(&self) -> bool {
        true
    }

    /// Disables transaction chaining, which a function or a trigger may have enabled. Called before
    /// a COMMIT or ROLLBACK in SQL that does not ask for it. By default there is no such setting.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn unchain(&self, conn: &mut DB::Connection) -> Result<(), Error> {
        let _ = conn;
        Ok(())
    }

    /// Returns true if the server refuses every statement in a failed transaction, so that its
    /// state need not be queried after an error. By default it does not.
    fn refuses_after_failure(&self) -> bool {
        false
    }

    /// Returns whether a statement with this first keyword, other than COMMIT and ROLLBACK, may end
    /// its transaction. By default every one may.
    fn ends_transaction(&self, keyword: &str) -> MayEnd {
        let _ = keyword;
        MayEnd::Perhaps
    }

    /// Returns an error if the connection is out of sync. Called before the next operation of a
    /// borrower that has used the driver's connection directly, with what was unfinished before.
    /// By default the driver is trusted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection counts as interrupted.
    async fn check_sync(
        &self,
        conn: &mut DB::Connection,
        unfinished: Unfinished,
    ) -> Result<(), Error> {
        let _ = (conn, unfinished);
        Ok(())
    }

    /// Verifies that the connection is in sync and no transaction is open, rolling back if
    /// necessary. Called after hooks have used the driver's connection, and by
    /// [`Tracked::verify`](crate::Tracked::verify), which managers call from their `reset`. By
    /// default nothing is verified and the connection stays [`InDoubt`](SyncState::InDoubt).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is closed.
    async fn verify(&self, conn: &mut DB::Connection) -> Result<Verified, Error> {
        let _ = conn;
        Ok(Verified::Not)
    }
}

/// What a connection knows of the schema, for backends. It is reset by any statement that may have
/// changed the schema.
#[derive(Debug, Default)]
pub struct KnownSchema {
    /// The query that returns the schema's versions.
    pub version_query: String,
    /// The query by which the database itself notices that its schema has changed.
    pub refresh_query: String,
    /// The versions at the last check; empty if unknown.
    pub versions: Vec<i64>,
    /// True if the open transaction reads from a snapshot, in which the schema cannot change.
    pub is_frozen: bool,
    /// True if this connection may have changed the schema in a transaction that may still be
    /// rolled back: a later change could then have the same version.
    pub(crate) uncommitted: bool,
    /// When it was last checked.
    pub(crate) checked_at: Option<Instant>,
}

impl KnownSchema {
    /// An unknown schema: a statement may have changed it.
    pub(crate) fn unknown() -> Self {
        Self { uncommitted: true, ..Self::default() }
    }
}

/// What is known of a transaction when the driver's caches are cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenTransaction {
    /// None is open.
    None,
    /// One may be open, in which nothing was written.
    Unwritten,
    /// One may be open, in which something may have been written.
    Written,
}

/// The result of a verification.
#[derive(Debug)]
pub enum Verified {
    /// Nothing is open on the connection.
    InSync {
        /// The errors of interrupted operations, which nothing else reports.
        late_errors: Vec<Error>,
    },
    /// Nothing was verified.
    Not,
}

/// Size in bytes above which a row or arguments are large: see [`Backend::is_large`] and
/// [`Backend::has_large_arguments`].
pub const LARGE: usize = 128 * 1024;

/// The statements that a connection behind a transaction pooler puts around each statement.
#[derive(Debug, Clone, Copy)]
pub struct TransactionWrapper {
    /// Begins a transaction and deallocates statements that other clients prepared on that server.
    pub begin: &'static str,
    /// Commits the transaction and clears the session. It fails in a failed transaction.
    pub commit: &'static str,
    /// Rolls the transaction back and clears the session.
    pub rollback: &'static str,
    /// Deallocates prepared statements; executed from time to time in a long transaction.
    pub deallocate: &'static str,
}

/// What an error means for the connection on which it occurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorImpact {
    /// Only the statement failed; the connection is in sync.
    InSync,
    /// The connection must be verified before it is lent again.
    Doubt,
    /// The connection is no longer usable.
    Broken,
}

/// How far the last operation got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Unfinished {
    /// Every operation has completed.
    #[default]
    Nothing,
    /// The rows of a statement were dropped between two rows.
    Rows,
    /// An operation was dropped while it waited for the server, or panicked.
    Operation,
}

/// Whether a statement may end the transaction in which it is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayEnd {
    /// It cannot.
    Never,
    /// It commits the transaction.
    Commits,
    /// Unknown: it may commit, roll back or begin another transaction.
    Perhaps,
}
