//! `begin` on a connection whose borrower keeps it.

use crate::lease::SqlLease;
use crate::tracked::Tracked;
use crate::transaction::Transaction;
use sqlx::{Database, Error, SqlSafeStr};

impl<DB: Database> Tracked<DB> {
    /// Begins a transaction on the connection, which can be used again afterwards; in a
    /// transaction, sets a savepoint.
    ///
    /// `&mut *tx` is an `Executor`, as of sqlx's own transaction, which `Acquire::begin` returns in
    /// generic code. That one is not tracked: on MySQL and SQLite the server may end it by itself,
    /// and nobody notices.
    ///
    /// # Errors
    ///
    /// The driver's; a [`TransactionLost`](crate::TransactionLost).
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
