//! A transaction that owns its connection, and savepoints in it.

use crate::lease::SqlLease;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
use crate::transaction_state::{Owner, TransactionLost, TransactionOutcome};
use sqlx::{Database, Error, SqlStr};
use sqlx_core::transaction::TransactionManager;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A transaction, or a savepoint in one. It owns its connection, so it can be kept, sent and
/// spawned.
///
/// `&mut *tx` is an `Executor`. Dropping it rolls back: the connection goes back at once, and the
/// pool's maintenance task rolls back before anybody else can get it.
///
/// sqlx's own `Transaction` cannot hold a connection of ours; where code is generic over `Acquire`,
/// `&mut tx` gives it a savepoint of sqlx's type.
#[must_use = "a transaction is rolled back when it is dropped"]
pub struct Transaction<'c, DB: Database> {
    connection: TransactionConnection<'c, DB>,
    /// Whether there is something to roll back.
    open: bool,
    /// How many transactions and savepoints the driver counts with this one.
    depth: usize,
}

/// The error of an operation in a transaction of which that is true.
const DROPPED_WHILE_BEGINNING: &str = "a savepoint of this transaction was cut off while it began, \
    so the transaction is lost: roll it back and begin anew";

/// The same at its end.
const DROPPED_WHILE_COMMITTING: &str = "a savepoint of this transaction was cut off while it was \
    committed, so the transaction is lost: roll it back and begin anew";

/// What is said of one that the driver has rolled back when something else in it failed.
const ROLLED_BACK_BY_DRIVER: &str = "the driver has rolled back this transaction because a \
    savepoint in it did not begin, so the transaction is lost: begin anew";

/// On what a transaction runs.
enum TransactionConnection<'c, DB: Database> {
    Lease(SqlLease<DB>),
    Outer(&'c mut Tracked<DB>),
}

impl<DB: Database> Transaction<'static, DB> {
    /// Begins a transaction on a connection that was lent, with a statement of your own or with the
    /// usual one.
    ///
    /// # Errors
    ///
    /// The driver's; `Error::BeginFailed` if the statement did not begin a transaction.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection goes back, and is rolled back before it is lent
    /// again.
    pub async fn begin_on(lease: SqlLease<DB>, statement: Option<SqlStr>) -> Result<Self, Error> {
        Self::start(TransactionConnection::Lease(lease), statement, None).await
    }
}

impl<'c, DB: Database> Transaction<'c, DB> {
    /// Sets a savepoint: a transaction in the transaction.
    ///
    /// # Errors
    ///
    /// The driver's; that the transaction is lost.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while the savepoint begins, the whole transaction is lost: every
    /// later statement in it, and its `commit`, is an error that says so.
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, Error> {
        let depth = self.depth;
        Transaction::start(TransactionConnection::Outer(&mut **self), None, Some(depth)).await
    }

    /// Makes the changes last, or those of a savepoint part of its transaction.
    ///
    /// # Errors
    ///
    /// The driver's; then the transaction is rolled back. A [`TransactionLost`] if the server has
    /// ended the transaction before, or if a statement in it had failed on a server on which that
    /// makes the whole transaction fail (PostgreSQL), with the first error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the database decides: the changes are committed or rolled back,
    /// all of them. If it is a savepoint's, the whole transaction is lost.
    pub async fn commit(mut self) -> Result<(), Error> {
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
            // It may be gone already when it is rolled back then, and an older one of that name
            // would be taken for it.
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

    /// Undoes the changes.
    ///
    /// # Errors
    ///
    /// The driver's; then the maintenance task rolls back, or closes the connection. A
    /// [`TransactionLost`] if the changes were committed before, or may have been: MySQL commits at
    /// a DDL statement.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the maintenance task rolls back.
    pub async fn rollback(mut self) -> Result<(), Error> {
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

    /// Finds out what has become of the transaction, if there is a doubt.
    async fn resolve_doubt(&mut self) -> Result<(), Error> {
        self.drain_unfinished().await?;
        if self.tracker().has_doubt() {
            self.ask().await?;
        }
        // The driver would end an outer one in its place, or none at all.
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

    /// Leaves a transaction that is lost. What the driver believes to be open is put right with the
    /// outermost one.
    async fn abandon(&mut self) -> Result<(), Error> {
        if !self.is_savepoint() {
            let sync_state = self.sync_state();
            self.verify().await?;
            self.degrade(sync_state);
        }
        self.open = false;
        Ok(())
    }

    /// A savepoint ends nothing.
    async fn before_end(&mut self, commits: bool) -> Result<(), Error> {
        if matches!(self.connection, TransactionConnection::Outer(_)) {
            return Ok(());
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

    fn mark_ended(&mut self) {
        self.open = false;
        if self.is_savepoint() {
            self.tracker_mut().on_rollback_to_savepoint();
        } else {
            self.tracker_mut().end();
        }
    }

    /// Begins it, in a transaction that the driver counts as `outer`. What it counts at this moment
    /// does not say so: it may still have to roll back a savepoint that was dropped.
    async fn start(
        connection: TransactionConnection<'c, DB>,
        statement: Option<SqlStr>,
        outer: Option<usize>,
    ) -> Result<Self, Error> {
        // It exists before it has begun: whether the server has begun it when we are dropped,
        // nobody knows.
        let mut tx = Self { connection, open: false, depth: 0 };
        tx.resume().await?;
        let is_savepoint = tx.is_savepoint();
        tx.schema_mut().is_frozen &= is_savepoint;
        if is_savepoint && tx.tracker().has_doubt() {
            // The driver would roll back the outer one if it has failed.
            tx.ask().await?;
            tx.tracker_mut().refuse_if_failed()?;
        }
        // Rolling back a savepoint that has not begun would hit the outer transaction.
        tx.open = !is_savepoint;
        if is_savepoint {
            // While it begins, drivers lose track of the outer transaction: sqlx rolls it back
            // behind its owner's back, and what follows would be committed one by one.
            tx.assume_lost_if_dropped(DROPPED_WHILE_BEGINNING);
        }
        let (conn, guard) = tx.begin_operation(SyncState::Clean);
        let begun = guard.track(Box::pin(DB::TransactionManager::begin(conn, statement))).await;
        // An error may have made the driver roll back the outer one.
        if outer.is_some_and(|outer| tx.driver_depth() >= outer) {
            tx.tracker_mut().clear_assumed_loss();
        }
        tx.depth = outer.map_or_else(|| tx.driver_depth(), |outer| outer.saturating_add(1));
        tx.open = begun.is_ok();
        match &begun {
            Err(_) => tx.degrade(SyncState::InDoubt),
            Ok(()) if !is_savepoint => tx.tracker_mut().begin(Owner::Guard),
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
        // What is lost has nothing to roll back, and the server would refuse to.
        if !self.has_lost_transaction() {
            // Behind a pooler the proof rolls back, since the session has to be cleared in the same
            // message.
            if self.backend().transaction_wrapper().is_none() || self.is_savepoint() {
                DB::TransactionManager::start_rollback(self.driver_mut());
            }
            if self.is_savepoint() {
                self.tracker_mut().on_rollback_to_savepoint();
            } else {
                self.tracker_mut().end();
            }
        }
    }
}

impl<DB: Database> Deref for Transaction<'_, DB> {
    type Target = Tracked<DB>;
    fn deref(&self) -> &Tracked<DB> {
        match &self.connection {
            TransactionConnection::Lease(lease) => lease,
            TransactionConnection::Outer(conn) => conn,
        }
    }
}

impl<DB: Database> DerefMut for Transaction<'_, DB> {
    fn deref_mut(&mut self) -> &mut Tracked<DB> {
        match &mut self.connection {
            TransactionConnection::Lease(lease) => lease,
            TransactionConnection::Outer(conn) => conn,
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
