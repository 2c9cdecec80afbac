//! The backends that are compiled in: one variant each, and the one place that tells them apart.

use crate::backend::Backend;
use crate::bridge::Bridge;
#[cfg(feature = "sqlite")]
use sqlx::Sqlite;

#[cfg(not(feature = "sqlite"))]
compile_error!(
    "millpond needs a backend: enable its feature `sqlite`, or depend on `millpond-core` for pools of something else"
);

/// Does the same with whatever backend it is. A macro, since every variant holds another type.
macro_rules! each {
    ($of:ident, $value:expr, $name:ident => $body:expr) => {
        match $value {
            #[cfg(feature = "sqlite")]
            $of::Sqlite($name) => $body,
        }
    };
}
pub(crate) use each;

/// A pool.
#[derive(Debug, Clone)]
pub(crate) enum TypedPool {
    #[cfg(feature = "sqlite")]
    Sqlite(millpond_sqlx::SqlPool<Sqlite>),
}

impl TypedPool {
    /// Which database it is.
    pub(crate) fn backend(&self) -> Backend {
        fn of<DB: Bridge>(_: &millpond_sqlx::SqlPool<DB>) -> Backend {
            DB::BACKEND
        }
        each!(Self, self, pool => of(pool))
    }
}

/// A connection on loan.
#[derive(Debug)]
pub(crate) enum TypedLease {
    #[cfg(feature = "sqlite")]
    Sqlite(millpond_sqlx::SqlLease<Sqlite>),
}

/// A transaction, or a savepoint in one.
#[derive(Debug)]
pub(crate) enum TypedTransaction<'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(millpond_sqlx::Transaction<'c, Sqlite>),
}

#[cfg(feature = "sqlite")]
impl From<millpond_sqlx::SqlPool<Sqlite>> for TypedPool {
    fn from(pool: millpond_sqlx::SqlPool<Sqlite>) -> Self {
        Self::Sqlite(pool)
    }
}

#[cfg(feature = "sqlite")]
impl From<millpond_sqlx::SqlLease<Sqlite>> for TypedLease {
    fn from(lease: millpond_sqlx::SqlLease<Sqlite>) -> Self {
        Self::Sqlite(lease)
    }
}

#[cfg(feature = "sqlite")]
impl<'c> From<millpond_sqlx::Transaction<'c, Sqlite>> for TypedTransaction<'c> {
    fn from(transaction: millpond_sqlx::Transaction<'c, Sqlite>) -> Self {
        Self::Sqlite(transaction)
    }
}
