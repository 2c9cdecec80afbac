//! A transaction that owns its connection, and savepoints in it.

use crate::lease::SqlLease;
use crate::standing::Standing;
use crate::tracked::Tracked;
use sqlx::{Database, Error, SqlStr};
use sqlx_core::transaction::TransactionManager;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A transaction, or a savepoint in one. It owns its connection, so it can be kept, sent and spawned.
///
/// `&mut *tx` is an `Executor`. Dropping it rolls back: the connection goes back at once, and the pool's keeper rolls back
/// before anybody else can get it.
///
/// sqlx's own `Transaction` cannot hold a connection of ours; where code is generic over `Acquire`, `&mut tx` gives it a
/// savepoint of sqlx's type.
#[must_use = "a transaction is rolled back when it is dropped"]
pub struct Transaction<'c, DB: Database> {
    ground: Ground<'c, DB>,
    /// Whether there is something to roll back.
    open: bool,
}

/// On what a transaction runs.
enum Ground<'c, DB: Database> {
    Lease(SqlLease<DB>),
    Outer(&'c mut Tracked<DB>),
}

impl<DB: Database> Transaction<'static, DB> {
    /// Begins a transaction on a connection that was lent, with a statement of your own or with the usual one.
    ///
    /// # Errors
    ///
    /// The driver's; `Error::BeginFailed` if the statement did not begin a transaction.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the connection goes back, and is rolled back before it is lent again.
    pub async fn on(lease: SqlLease<DB>, statement: Option<SqlStr>) -> Result<Self, Error> {
        Self::start(Ground::Lease(lease), statement).await
    }
}

impl<'c, DB: Database> Transaction<'c, DB> {
    /// Sets a savepoint: a transaction in the transaction.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped while the savepoint begins, the whole transaction is lost: every later statement in it, and
    /// its `commit`, is an error that says so.
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, Error> {
        Transaction::start(Ground::Outer(&mut **self), None).await
    }

    /// Makes the changes last, or those of a savepoint part of its transaction.
    ///
    /// # Errors
    ///
    /// The driver's; then the transaction is rolled back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the database decides: the changes are committed or rolled back, all of them.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.resume().await?;
        self.before_end(true).await?;
        let end = self.backend().transaction_end();
        let (conn, watch) = self.watched(end);
        watch.follow(Box::pin(DB::TransactionManager::commit(conn))).await?;
        self.open = false;
        Ok(())
    }

    /// Undoes the changes.
    ///
    /// # Errors
    ///
    /// The driver's; then the keeper rolls back, or closes the connection.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the keeper rolls back.
    pub async fn rollback(mut self) -> Result<(), Error> {
        self.set_doomed(false);
        self.resume().await?;
        self.before_end(false).await?;
        let end = self.backend().transaction_end();
        let (conn, watch) = self.watched(end);
        watch.follow(Box::pin(DB::TransactionManager::rollback(conn))).await?;
        self.open = false;
        Ok(())
    }

    /// A savepoint ends nothing.
    async fn before_end(&mut self, commits: bool) -> Result<(), Error> {
        if matches!(self.ground, Ground::Outer(_)) {
            return Ok(());
        }
        let backend = self.backend();
        let (conn, watch) = self.watched(Standing::Clean);
        watch.follow(backend.before_end(conn, commits)).await
    }

    async fn start(ground: Ground<'c, DB>, statement: Option<SqlStr>) -> Result<Self, Error> {
        // It exists before it has begun: whether the server has begun it when we are dropped, nobody knows.
        let mut tx = Self { ground, open: false };
        tx.resume().await?;
        let is_savepoint = matches!(tx.ground, Ground::Outer(_));
        tx.seen_mut().held &= is_savepoint;
        // Rolling back a savepoint that has not begun would hit the outer transaction.
        tx.open = !is_savepoint;
        tx.set_doomed(is_savepoint);
        let (conn, watch) = tx.watched(Standing::Clean);
        let begun = watch.follow(Box::pin(DB::TransactionManager::begin(conn, statement))).await;
        tx.set_doomed(false);
        tx.open = begun.is_ok();
        if begun.is_err() {
            tx.worsen(Standing::Raw);
        }
        begun.map(|()| tx)
    }
}

impl<DB: Database> Drop for Transaction<'_, DB> {
    fn drop(&mut self) {
        if self.open {
            self.worsen(Standing::Raw);
            // Behind a pooler the proof rolls back, since the session has to be cleared in the same message.
            if self.backend().enclosure().is_none() || matches!(self.ground, Ground::Outer(_)) {
                DB::TransactionManager::start_rollback(self.driver_mut());
            }
        }
    }
}

impl<DB: Database> Deref for Transaction<'_, DB> {
    type Target = Tracked<DB>;
    fn deref(&self) -> &Tracked<DB> {
        match &self.ground {
            Ground::Lease(lease) => lease,
            Ground::Outer(conn) => conn,
        }
    }
}

impl<DB: Database> DerefMut for Transaction<'_, DB> {
    fn deref_mut(&mut self) -> &mut Tracked<DB> {
        match &mut self.ground {
            Ground::Lease(lease) => lease,
            Ground::Outer(conn) => conn,
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
