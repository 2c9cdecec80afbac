//! A transaction on a [`DatabaseConnection`](crate::DatabaseConnection), and its savepoints.

use crate::any_connection::AnyConnection;
use crate::backends::{TypedTransaction, each};
use sqlx::Error;
use std::ops::{Deref, DerefMut};

/// A transaction or a savepoint. A transaction owns its connection, so it can be stored, sent and
/// moved into a task.
///
/// `&mut *tx` is an `Executor` in sqlx's `Any` types, as is `&mut tx`. Dropping a transaction rolls
/// it back before the connection is lent again.
#[derive(Debug)]
#[must_use = "a transaction is rolled back when it is dropped"]
pub struct DatabaseTransaction<'c>(pub(crate) TypedTransaction<'c>);

impl DatabaseTransaction<'_> {
    /// Sets a savepoint, that is, begins a nested transaction.
    ///
    /// # Errors
    ///
    /// The driver's.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the savepoint is rolled back.
    pub async fn begin(&mut self) -> Result<DatabaseTransaction<'_>, Error> {
        let inner = each!(TypedTransaction, &mut self.0, outer => outer.begin().await?.into());
        Ok(DatabaseTransaction(inner))
    }

    /// Commits the changes, or merges those of a savepoint into its transaction.
    ///
    /// # Errors
    ///
    /// The driver's error; the transaction is then rolled back.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the changes are either all committed or all rolled back.
    pub async fn commit(self) -> Result<(), Error> {
        each!(TypedTransaction, self.0, tx => tx.commit().await)
    }

    /// Rolls the changes back.
    ///
    /// # Errors
    ///
    /// The driver's error; the changes are then rolled back before the connection is lent again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the changes are rolled back before the connection is lent again.
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
