//! `begin` on a connection whose borrower keeps it.

use crate::lease::SqlLease;
use crate::tracked::Tracked;
use crate::transaction::Transaction;
use crate::transaction_state::Owner;
use futures_core::future::BoxFuture;
use sqlx::{Database, Error, SqlSafeStr};

/// Error of a `begin` in a transaction that the driver does not know of.
const BEGUN_IN_SQL: &str = "a transaction that was begun in SQL is open on this connection: end it \
    first, or set a savepoint in SQL";

impl<DB: Database> Tracked<DB> {
    /// Returns an error if a transaction is open that was begun in SQL: another one would end it,
    /// on MySQL when it begins, and elsewhere when it ends.
    pub(crate) fn refuse_if_begun_in_sql(&self) -> Result<(), Error> {
        if self.tracker().owner() == Owner::Borrower {
            return Err(Error::InvalidArgument(BEGUN_IN_SQL.to_owned()));
        }
        Ok(())
    }

    /// Begins a transaction on the connection, which can be used again afterwards; in a
    /// transaction, sets a savepoint.
    ///
    /// `&mut *tx` is an `Executor`, as of sqlx's own transaction, which `Acquire::begin` returns in
    /// generic code. That one is not tracked: on MySQL and SQLite the server may end it by itself,
    /// and nobody notices.
    ///
    /// # Errors
    ///
    /// The driver's; a [`TransactionLost`](crate::TransactionLost); `Error::InvalidArgument` if a
    /// transaction is open that was begun in SQL.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, what may have begun is rolled back before the next statement; a
    /// savepoint's transaction is lost.
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, Error> {
        Transaction::begin_borrowed(self, None).await
    }

    /// Begins a transaction with a custom statement, such as `BEGIN ISOLATION LEVEL SERIALIZABLE`.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin); `Error::BeginFailed` if the statement did not begin a
    /// transaction, and `Error::InvalidSavePointStatement` in a transaction.
    ///
    /// # Cancel safety
    ///
    /// As [`begin`](Self::begin).
    pub async fn begin_with(
        &mut self,
        statement: impl SqlSafeStr,
    ) -> Result<Transaction<'_, DB>, Error> {
        Transaction::begin_borrowed(self, Some(statement.into_sql_str())).await
    }

    /// Calls `work` in a transaction on the connection; in a transaction, within a savepoint. If it
    /// returns `Ok`, the transaction is committed, and otherwise rolled back. It takes the place of
    /// sqlx's method of this name, whose transaction is not tracked.
    ///
    /// ```no_run
    /// # async fn example(pool: millpond_sqlx::SqlPool<sqlx::Any>) -> Result<(), sqlx::Error> {
    /// let mut lease = pool.acquire().await?;
    /// let work = lease.transaction(|tx| {
    ///     Box::pin(async move { sqlx::query("DELETE FROM fish").execute(&mut **tx).await })
    /// });
    /// work.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`begin`](Self::begin), of `work` and of the commit. If the rollback fails, its
    /// error, as with sqlx.
    ///
    /// # Cancel safety
    ///
    /// As [`begin`](Self::begin); a transaction that has begun is rolled back.
    pub async fn transaction<F, T, E>(&mut self, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut Transaction<'_, DB>) -> BoxFuture<'t, Result<T, E>>,
        E: From<Error>,
    {
        let mut tx = Transaction::begin_borrowed(self, None).await?;
        let done = work(&mut tx).await;
        if done.is_ok() { tx.commit().await } else { tx.rollback().await }?;
        done
    }
}

impl<DB: Database> SqlLease<DB> {
    /// Begins a transaction on the connection: see [`Tracked::begin`].
    ///
    /// # Errors
    ///
    /// As [`Tracked::begin`].
    ///
    /// # Cancel safety
    ///
    /// As [`Tracked::begin`].
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, Error> {
        Transaction::begin_borrowed(self, None).await
    }

    /// Begins a transaction with a custom statement: see [`Tracked::begin_with`].
    ///
    /// # Errors
    ///
    /// As [`Tracked::begin_with`].
    ///
    /// # Cancel safety
    ///
    /// As [`Tracked::begin`].
    pub async fn begin_with(
        &mut self,
        statement: impl SqlSafeStr,
    ) -> Result<Transaction<'_, DB>, Error> {
        Transaction::begin_borrowed(self, Some(statement.into_sql_str())).await
    }
}
