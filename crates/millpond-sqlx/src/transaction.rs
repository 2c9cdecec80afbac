//! Transactions that own their connection, and savepoints in them.

use crate::lease::SqlLease;
use crate::sql_text::{Meaning, meaning};
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use crate::transaction_state::{Owner, TransactionLost, TransactionOutcome};
use sqlx::{Database, Error, SqlSafeStr, SqlStr};
use sqlx_core::transaction::TransactionManager;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A transaction, or a savepoint in one. It owns its connection, so it can be kept, sent and
/// spawned.
///
/// `&mut *tx` is an `Executor`. Dropping it rolls back: the connection is returned at once, and the
/// pool's maintenance task rolls back before it is lent again.
///
/// sqlx's own `Transaction` cannot hold a millpond connection; for code that is generic over
/// `Acquire`, `&mut tx` provides a savepoint of sqlx's type.
#[must_use = "a transaction is rolled back when it is dropped"]
pub struct Transaction<'c, DB: Database> {
    connection: TransactionConnection<'c, DB>,
    /// Whether it has to be rolled back.
    open: bool,
    /// The driver's transaction depth including this one.
    depth: usize,
}

/// Error of every operation after a `begin` that was dropped.
const DROPPED_WHILE_BEGINNING: &str = "a savepoint of this transaction was interrupted while it \
    began, so the transaction is lost: roll it back and begin again";

/// Error of every operation after a savepoint's `commit` that was dropped.
const DROPPED_WHILE_COMMITTING: &str = "a savepoint of this transaction was interrupted while it \
    was committed, so the transaction is lost: roll it back and begin again";

/// Error of a transaction that the driver rolled back because a savepoint could not be set.
const ROLLED_BACK_BY_DRIVER: &str = "the driver has rolled back this transaction because a \
    savepoint in it did not begin, so the transaction is lost: begin again";

/// The connection that a transaction owns or borrows.
enum TransactionConnection<'c, DB: Database> {
    Owned(SqlLease<DB>),
    /// That of a borrower who goes on with it afterwards.
    Borrowed(&'c mut Tracked<DB>),
    /// That of the outer transaction: this one is a savepoint.
    Outer(&'c mut Tracked<DB>),
}

impl<DB: Database> Transaction<'static, DB> {
    /// Begins a transaction on a lease, with a custom statement or the default one.
    ///
    /// # Errors
    ///
    /// The driver's; `Error::BeginFailed` if the statement did not begin a transaction.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the connection is returned, and rolled back before it is lent
    /// again.
    pub async fn begin_on(lease: SqlLease<DB>, statement: Option<SqlStr>) -> Result<Self, Error> {
        Self::start(TransactionConnection::Owned(lease), statement, None).await
    }
}

impl<'c, DB: Database> Transaction<'c, DB> {
    pub(crate) async fn begin_borrowed(
        conn: &'c mut Tracked<DB>,
        statement: Option<SqlStr>,
    ) -> Result<Self, Error> {
        match DB::TransactionManager::get_transaction_depth(conn.driver()) {
            0 => {
                conn.resume().await?;
                conn.refuse_if_begun_in_sql()?;
                Self::start(TransactionConnection::Borrowed(conn), statement, None).await
            }
            _ if statement.is_some() => Err(Error::InvalidSavePointStatement),
            depth => Self::start(TransactionConnection::Outer(conn), None, Some(depth)).await,
        }
    }

    /// Sets a savepoint.
    ///
    /// # Errors
    ///
    /// The driver's; a [`TransactionLost`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while the savepoint begins, the whole transaction is lost: every
    /// later statement in it, and its `commit`, is an error that says so.
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, Error> {
        let depth = self.depth;
        Transaction::start(TransactionConnection::Outer(&mut **self), None, Some(depth)).await
    }

    /// Commits the changes, or releases the savepoint.
    ///
    /// # Errors
    ///
    /// The driver's; then the transaction is rolled back. A [`TransactionLost`] if the server has
    /// ended the transaction before, or if a statement in it had failed on a server on which that
    /// makes the whole transaction fail (PostgreSQL), with the first error. An
    /// [`Expired`](crate::Expired) if the lease is older than `max_lease`; then nothing is sent,
    /// and the transaction is rolled back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, either all changes are committed or all are rolled back. If it is
    /// a savepoint's, the whole transaction is lost.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.refuse_if_overdue()?;
        self.resolve_doubt().await?;
        if let Some(lost) = self.tracker().lost().cloned() {
            let is_committed = self.tracker().is_committed();
            self.abandon().await?;
            return if is_committed { Ok(()) } else { Err(lost.to_error()) };
        }
        if self.tracker().has_doubt() {
            let failure = self.tracker().failure();
            self.roll_back().await?;
            return Err(failure.to_error());
        }
        if self.is_savepoint() {
            // A later rollback might find it released already, and hit an older savepoint of the
            // same name.
            self.assume_lost_if_dropped(DROPPED_WHILE_COMMITTING);
        }
        self.before_end(true).await?;
        let end = self.backend().transaction_end();
        let (conn, guard) = self.begin_operation(end);
        let committed = guard.track(Box::pin(DB::TransactionManager::commit(conn))).await;
        self.tracker_mut().clear_assumed_loss();
        committed?;
        self.mark_ended();
        Ok(())
    }

    /// Rolls the changes back.
    ///
    /// # Errors
    ///
    /// The driver's; then the maintenance task rolls back, or closes the connection. A
    /// [`TransactionLost`] if the changes were committed before, or may have been: MySQL commits at
    /// a DDL statement. An [`Expired`](crate::Expired) if the lease is older than `max_lease`; then
    /// the maintenance task rolls back, or closes the connection.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the maintenance task rolls back.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.refuse_if_overdue()?;
        self.resolve_doubt().await?;
        if let Some(lost) = self.tracker().lost().cloned() {
            self.abandon().await?;
            let is_undone = lost.outcome() == TransactionOutcome::RolledBack;
            return if is_undone { Ok(()) } else { Err(lost.to_error()) };
        }
        self.roll_back().await
    }

    async fn roll_back(&mut self) -> Result<(), Error> {
        self.before_end(false).await?;
        let end = self.backend().transaction_end();
        let (conn, guard) = self.begin_operation(end);
        guard.track(Box::pin(DB::TransactionManager::rollback(conn))).await?;
        self.forget_uncommitted_schema();
        self.mark_ended();
        Ok(())
    }

    /// Queries the state of the transaction if it is in doubt.
    async fn resolve_doubt(&mut self) -> Result<(), Error> {
        self.drain_unfinished().await?;
        if self.tracker().has_doubt() {
            self.ask().await?;
        }
        // Otherwise the driver would end an outer transaction instead, or none.
        if self.tracker().lost().is_none() && self.driver_depth() < self.depth {
            self.tracker_mut().lose(TransactionLost::new(
                TransactionOutcome::RolledBack,
                ROLLED_BACK_BY_DRIVER.to_owned(),
            ));
        }
        Ok(())
    }

    fn driver_depth(&self) -> usize {
        DB::TransactionManager::get_transaction_depth(self.driver())
    }

    /// Ends a lost transaction without a statement. The driver's transaction depth is corrected
    /// with the outermost one.
    async fn abandon(&mut self) -> Result<(), Error> {
        if !self.is_savepoint() {
            self.roll_back_everything().await?;
        }
        self.open = false;
        Ok(())
    }

    /// Savepoints do not end the transaction.
    async fn before_end(&mut self, commits: bool) -> Result<(), Error> {
        match self.connection {
            TransactionConnection::Owned(_) => {}
            // What follows would be in a transaction that nobody has begun.
            TransactionConnection::Borrowed(_) => self.unchain().await?,
            TransactionConnection::Outer(_) => return Ok(()),
        }
        let backend = self.backend();
        let (conn, guard) = self.begin_operation(SyncState::Clean);
        guard.track(backend.before_end(conn, commits)).await
    }

    /// The transaction is lost unless
    /// [`clear_assumed_loss`](crate::transaction_state::Tracker::clear_assumed_loss) follows.
    fn assume_lost_if_dropped(&mut self, why: &str) {
        let lost = TransactionLost::new(TransactionOutcome::RolledBack, why.to_owned());
        self.tracker_mut().assume_lost(lost);
    }

    fn is_savepoint(&self) -> bool {
        matches!(self.connection, TransactionConnection::Outer(_))
    }

    fn is_borrowed(&self) -> bool {
        matches!(self.connection, TransactionConnection::Borrowed(_))
    }

    fn mark_ended(&mut self) {
        self.open = false;
        self.cache.note_possible_revert();
        if self.is_savepoint() {
            self.tracker_mut().on_rollback_to_savepoint();
        } else {
            self.tracker_mut().end();
            if self.is_borrowed() && self.tracker().chooses_completion() {
                let unknown = TransactionOutcome::Unknown;
                self.tracker_mut().note_doubt("a chained COMMIT or ROLLBACK", unknown, true);
            }
        }
    }

    /// Begins the transaction, or a savepoint in one at the driver's depth `outer`. The driver's
    /// current depth may be higher, if it has yet to roll back a dropped savepoint.
    async fn start(
        connection: TransactionConnection<'c, DB>,
        statement: Option<SqlStr>,
        outer: Option<usize>,
    ) -> Result<Self, Error> {
        // Created before it begins: if this future is dropped, the server may or may not have begun
        // it.
        let mut tx = Self { connection, open: false, depth: 0 };
        tx.resume().await?;
        let is_savepoint = tx.is_savepoint();
        tx.schema_mut().is_frozen &= is_savepoint;
        if is_savepoint && tx.tracker().has_doubt() {
            // If the outer transaction has failed, the driver would roll it back.
            tx.ask().await?;
            tx.tracker_mut().refuse_if_failed()?;
        }
        // Rolling back a savepoint that was not set would hit the outer transaction.
        tx.open = !is_savepoint;
        if is_savepoint {
            // If this is dropped, sqlx rolls the outer transaction back without its owner noticing,
            // and later statements would be committed one by one.
            tx.assume_lost_if_dropped(DROPPED_WHILE_BEGINNING);
        }
        let writes = statement.as_ref().is_some_and(|sql| meaning(sql.as_str()) != Meaning::Begin);
        let usual = tx.backend().begin_statement().filter(|_| !is_savepoint);
        let statement = statement.or(usual.map(SqlSafeStr::into_sql_str));
        let (conn, guard) = tx.begin_operation(SyncState::Clean);
        let begun = guard.track(Box::pin(DB::TransactionManager::begin(conn, statement))).await;
        // After an error the driver may have rolled back the outer transaction.
        if outer.is_some_and(|outer| tx.driver_depth() >= outer) {
            tx.tracker_mut().clear_assumed_loss();
        }
        tx.depth = outer.map_or_else(|| tx.driver_depth(), |outer| outer.saturating_add(1));
        tx.open = begun.is_ok();
        match &begun {
            Err(_) => {
                tx.degrade(SyncState::InDoubt);
                if tx.is_borrowed() {
                    tx.tracker_mut().abandon();
                }
            }
            Ok(()) if !is_savepoint => {
                tx.may_have_written = writes;
                tx.tracker_mut().begin(Owner::Guard);
            }
            Ok(()) => {}
        }
        begun.map(|()| tx)
    }
}

impl<DB: Database> Drop for Transaction<'_, DB> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        self.degrade(SyncState::InDoubt);
        self.forget_uncommitted_schema();
        self.cache.note_possible_revert();
        let is_borrowed = self.is_borrowed();
        // A lost transaction cannot be rolled back.
        if !self.has_lost_transaction() {
            // Behind a pooler the verification rolls back and clears the session in one message.
            if self.backend().transaction_wrapper().is_none() || self.is_savepoint() {
                DB::TransactionManager::start_rollback(self.driver_mut());
            }
            if !self.is_savepoint() {
                self.tracker_mut().end();
            } else if self.backend().refuses_after_failure() {
                // Elsewhere the error may have ended the whole transaction: the server is asked.
                self.tracker_mut().on_rollback_to_savepoint();
            }
        }
        if is_borrowed {
            self.tracker_mut().abandon();
        }
    }
}

impl<DB: Database> Deref for Transaction<'_, DB> {
    type Target = Tracked<DB>;
    fn deref(&self) -> &Tracked<DB> {
        match &self.connection {
            TransactionConnection::Owned(lease) => lease,
            TransactionConnection::Borrowed(conn) | TransactionConnection::Outer(conn) => conn,
        }
    }
}

impl<DB: Database> DerefMut for Transaction<'_, DB> {
    fn deref_mut(&mut self) -> &mut Tracked<DB> {
        match &mut self.connection {
            TransactionConnection::Owned(lease) => lease,
            TransactionConnection::Borrowed(conn) | TransactionConnection::Outer(conn) => conn,
        }
    }
}

impl<DB: Database> AsMut<DB::Connection> for Transaction<'_, DB> {
    fn as_mut(&mut self) -> &mut DB::Connection {
        self
    }
}

impl<DB: Database> fmt::Debug for Transaction<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("on", &**self).field("open", &self.open).finish()
    }
}
