//! A transaction on a [`DatabaseConnection`](crate::DatabaseConnection), and savepoints in it.

use crate::any_connection::AnyConnection;
use crate::backends::{TypedTransaction, each};
use sqlx::Error;
use std::ops::{Deref, DerefMut};

/// A transaction, or a savepoint in one. It owns its connection, so it can be kept, sent and
/// spawned.
///
/// `&mut *tx` is an `Executor` in sqlx's `Any` types, as is `&mut tx`. Dropping it rolls back,
/// before anybody else can get the connection.
#[derive(Debug)]
#[must_use = "a transaction is rolled back when it is dropped"]
pub struct DatabaseTransaction<'c>(pub(crate) TypedTransaction<'c>);

impl DatabaseTransaction<'_> {
    /// Sets a savepoint: a transaction in the transaction.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the savepoint is rolled back.
    pub async fn begin(&mut self) -> Result<DatabaseTransaction<'_>, Error> {
        let inner = each!(TypedTransaction, &mut self.0, outer => outer.begin().await?.into());
        Ok(DatabaseTransaction(inner))
    }

    /// Makes the changes last, or those of a savepoint part of its transaction.
    ///
    /// # Errors
    ///
    /// The driver's; then the transaction is rolled back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the database decides: the changes are committed or rolled back,
    /// all of them.
    pub async fn commit(self) -> Result<(), Error> {
        each!(TypedTransaction, self.0, tx => tx.commit().await)
    }

    /// Undoes the changes.
    ///
    /// # Errors
    ///
    /// The driver's; then they are undone before anybody else can get the connection.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, they are undone before anybody else can get the connection.
    pub async fn rollback(self) -> Result<(), Error> {
        each!(TypedTransaction, self.0, tx => tx.rollback().await)
    }
}

impl Deref for DatabaseTransaction<'_> {
    type Target = dyn AnyConnection;

    fn deref(&self) -> &Self::Target {
        each!(TypedTransaction, &self.0, tx => &**tx)
    }
}

impl DerefMut for DatabaseTransaction<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        each!(TypedTransaction, &mut self.0, tx => &mut **tx)
    }
}
