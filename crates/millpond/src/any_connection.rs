//! A connection to any database: the common interface of leases and transactions.

use crate::any_conversion::AnyConversion;
use crate::dialect::Dialect;
use crate::prepared_query::{self, Answer, UntypedStatement};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, future};
use millpond_sqlx::Tracked;
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, Describe, Either, Error, Execute, Executor, SqlStr};
use std::any;
use std::fmt;

/// One connection of a [`DatabaseConnection`](crate::DatabaseConnection), in a lease or in a
/// transaction.
///
/// `&mut *conn` is an `Executor` in sqlx's `Any` types. A function that executes several
/// statements, both in and outside a transaction, takes `&mut dyn AnyConnection`:
///
/// ```
/// use millpond::AnyConnection;
///
/// async fn rename(conn: &mut dyn AnyConnection, from: &str, to: &str) -> sqlx::Result<u64> {
///     let update = sqlx::query("UPDATE users SET name = $1 WHERE name = $2").bind(to).bind(from);
///     update.execute(&mut *conn).await?;
///     let row: (i64,) = sqlx::query_as("SELECT count(*) FROM users").fetch_one(&mut *conn).await?;
///     Ok(row.0 as u64)
/// }
/// # let _ = rename;
/// ```
///
/// The trait's required methods are hidden: only millpond's own connections implement it.
pub trait AnyConnection: any::Any + fmt::Debug + Send {
    /// Returns the kind of database.
    fn dialect(&self) -> Dialect;

    #[doc(hidden)]
    fn as_any(&mut self) -> &mut dyn any::Any;

    #[doc(hidden)]
    fn run_many(&mut self, statement: UntypedStatement) -> BoxStream<'_, Answer>;

    #[doc(hidden)]
    fn run_optional(
        &mut self,
        statement: UntypedStatement,
    ) -> BoxFuture<'_, Result<Option<AnyRow>, Error>>;

    #[doc(hidden)]
    fn run_prepare(&mut self, sql: SqlStr) -> BoxFuture<'_, Result<AnyStatement, Error>>;

    #[doc(hidden)]
    fn run_describe(&mut self, sql: SqlStr) -> BoxFuture<'_, Result<Describe<Any>, Error>>;
}

impl<DB: AnyConversion> AnyConnection for Tracked<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    fn dialect(&self) -> Dialect {
        DB::DIALECT
    }

    fn as_any(&mut self) -> &mut dyn any::Any {
        self
    }

    fn run_many(&mut self, statement: UntypedStatement) -> BoxStream<'_, Answer> {
        prepared_query::fetch_many(self, statement)
    }

    fn run_optional(
        &mut self,
        statement: UntypedStatement,
    ) -> BoxFuture<'_, Result<Option<AnyRow>, Error>> {
        prepared_query::fetch_optional(self, statement)
    }

    fn run_prepare(&mut self, sql: SqlStr) -> BoxFuture<'_, Result<AnyStatement, Error>> {
        prepared_query::prepare(self, sql)
    }

    fn run_describe(&mut self, sql: SqlStr) -> BoxFuture<'_, Result<Describe<Any>, Error>> {
        prepared_query::describe(self, sql)
    }
}

/// The typed connections, whose operations millpond tracks. `&mut **conn.as_sqlite()?` is the
/// driver's own connection, whose operations it cannot track; such a connection is verified before
/// it is lent again.
impl dyn AnyConnection + '_ {
    /// Returns the typed connection if the database is MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    pub fn as_mysql(&mut self) -> Option<&mut Tracked<sqlx::MySql>> {
        self.as_any().downcast_mut()
    }

    /// Returns the typed connection if the database is PostgreSQL.
    #[cfg(feature = "postgres")]
    pub fn as_postgres(&mut self) -> Option<&mut Tracked<sqlx::Postgres>> {
        self.as_any().downcast_mut()
    }

    /// Returns the typed connection if the database is SQLite.
    #[cfg(feature = "sqlite")]
    pub fn as_sqlite(&mut self) -> Option<&mut Tracked<sqlx::Sqlite>> {
        self.as_any().downcast_mut()
    }
}

impl<'c, 'a: 'c> Executor<'c> for &'c mut (dyn AnyConnection + 'a) {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match UntypedStatement::new(query) {
            Ok(statement) => self.run_many(statement),
            Err(error) => prepared_query::failed(error),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match UntypedStatement::new(query) {
            Ok(statement) => self.run_optional(statement),
            Err(error) => future::err(error).boxed(),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        _: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'c: 'e,
    {
        self.run_prepare(sql)
    }

    // Required because the workspace enables sqlx's feature `macros`.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'c: 'e,
    {
        self.run_describe(sql)
    }
}
