//! The databases that are compiled in: one variant each.

use crate::any_conversion::AnyConversion;
use crate::dialect::Dialect;
use millpond_sqlx::backend_api::check_connects;
use millpond_sqlx::{SqlLease, SqlPool, Transaction};
use sqlx::Error;
#[cfg(feature = "mysql")]
use sqlx::MySql;
#[cfg(feature = "postgres")]
use sqlx::Postgres;
#[cfg(feature = "sqlite")]
use sqlx::Sqlite;
use std::any::Any;

#[cfg(not(any(feature = "mysql", feature = "postgres", feature = "sqlite")))]
compile_error!(
    "millpond needs a database that speaks SQL: enable its feature `mysql`, `postgres` or \
     `sqlite`. For Redis alone depend on `millpond-redis`, `millpond-cache` or \
     `millpond-ratelimit`, for pools of something else on `millpond-core`. All other errors of \
     this crate follow from this one"
);

/// Evaluates the same expression for every variant. This is a macro because every variant holds a
/// different type.
macro_rules! each {
    ($of:ident, $value:expr, $name:ident => $body:expr) => {
        match $value {
            #[cfg(feature = "mysql")]
            $of::MySql($name) => $body,
            #[cfg(feature = "postgres")]
            $of::Postgres($name) => $body,
            #[cfg(feature = "sqlite")]
            $of::Sqlite($name) => $body,
        }
    };
}
pub(crate) use each;

/// A pool of one of the databases.
#[derive(Debug, Clone)]
pub(crate) enum TypedPool {
    #[cfg(feature = "mysql")]
    MySql(SqlPool<MySql>),
    #[cfg(feature = "postgres")]
    Postgres(SqlPool<Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(SqlPool<Sqlite>),
}

impl TypedPool {
    /// Returns the kind of database.
    pub(crate) fn dialect(&self) -> Dialect {
        fn of<DB: AnyConversion>(_: &SqlPool<DB>) -> Dialect {
            DB::DIALECT
        }
        each!(Self, self, pool => of(pool))
    }

    /// Opens one connection, and one reader if there are readers, to check that connecting works.
    /// Sends no query, so that it also works behind a transaction pooler.
    pub(crate) async fn open_first(&self) -> Result<(), Error> {
        each!(Self, self, pool => check_connects(pool.clone()).await.map(drop))
    }

    /// Registers the gauges of this pool, or of its writer and readers.
    #[cfg(feature = "metrics")]
    pub(crate) fn register_gauges(&self, metrics: &millpond_metrics::PoolMetrics) {
        each!(Self, self, pool => {
            let weak = pool.downgrade();
            metrics.follow(pool.pool().name(), move || Some(weak.upgrade()?.status()));
            if pool.is_split() {
                let weak = pool.downgrade();
                let reader = move || Some(weak.upgrade()?.reader().status());
                metrics.follow(pool.reader().pool().name(), reader);
            }
        });
    }

    /// Returns the pool if it is one of this database.
    pub(crate) fn as_pool_of<DB: AnyConversion>(&self) -> Option<&SqlPool<DB>> {
        each!(Self, self, pool => (pool as &dyn Any).downcast_ref())
    }
}

/// A lent connection of one of the databases.
#[derive(Debug)]
pub(crate) enum TypedLease {
    #[cfg(feature = "mysql")]
    MySql(SqlLease<MySql>),
    #[cfg(feature = "postgres")]
    Postgres(SqlLease<Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(SqlLease<Sqlite>),
}

/// A transaction or a savepoint of one of the databases.
#[derive(Debug)]
pub(crate) enum TypedTransaction<'c> {
    #[cfg(feature = "mysql")]
    MySql(Transaction<'c, MySql>),
    #[cfg(feature = "postgres")]
    Postgres(Transaction<'c, Postgres>),
    #[cfg(feature = "sqlite")]
    Sqlite(Transaction<'c, Sqlite>),
}

/// Wraps a database's pools, leases and transactions in the typed enums.
pub(crate) trait IntoTyped: AnyConversion {
    fn pool(pool: SqlPool<Self>) -> TypedPool;
    fn lease(lease: SqlLease<Self>) -> TypedLease;
    fn transaction(transaction: Transaction<'_, Self>) -> TypedTransaction<'_>;
}

#[cfg(feature = "mysql")]
impl IntoTyped for MySql {
    fn pool(pool: SqlPool<Self>) -> TypedPool {
        TypedPool::MySql(pool)
    }

    fn lease(lease: SqlLease<Self>) -> TypedLease {
        TypedLease::MySql(lease)
    }

    fn transaction(transaction: Transaction<'_, Self>) -> TypedTransaction<'_> {
        TypedTransaction::MySql(transaction)
    }
}

#[cfg(feature = "postgres")]
impl IntoTyped for Postgres {
    fn pool(pool: SqlPool<Self>) -> TypedPool {
        TypedPool::Postgres(pool)
    }

    fn lease(lease: SqlLease<Self>) -> TypedLease {
        TypedLease::Postgres(lease)
    }

    fn transaction(transaction: Transaction<'_, Self>) -> TypedTransaction<'_> {
        TypedTransaction::Postgres(transaction)
    }
}

#[cfg(feature = "sqlite")]
impl IntoTyped for Sqlite {
    fn pool(pool: SqlPool<Self>) -> TypedPool {
        TypedPool::Sqlite(pool.with_declared_types())
    }

    fn lease(lease: SqlLease<Self>) -> TypedLease {
        TypedLease::Sqlite(lease)
    }

    fn transaction(transaction: Transaction<'_, Self>) -> TypedTransaction<'_> {
        TypedTransaction::Sqlite(transaction)
    }
}

impl<DB: IntoTyped> From<SqlPool<DB>> for TypedPool {
    fn from(pool: SqlPool<DB>) -> Self {
        DB::pool(pool)
    }
}

impl<DB: IntoTyped> From<SqlLease<DB>> for TypedLease {
    fn from(lease: SqlLease<DB>) -> Self {
        DB::lease(lease)
    }
}

impl<'c, DB: IntoTyped> From<Transaction<'c, DB>> for TypedTransaction<'c> {
    fn from(transaction: Transaction<'c, DB>) -> Self {
        DB::transaction(transaction)
    }
}
