//! sqlx's `Executor`, in its `Any` types, for pools, leases and transactions.

use crate::backends::{TypedPool, each};
use crate::connection::DatabaseConnection;
use crate::lease::DatabaseLease;
use crate::prepared_query::{self, UntypedStatement};
use crate::transaction::DatabaseTransaction;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, future};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, Describe, Either, Error, Execute, Executor, SqlStr};

/// Acquires a connection for each statement and returns it afterwards.
impl<'p> Executor<'p> for &'_ DatabaseConnection {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match UntypedStatement::new(query) {
            Ok(statement) => {
                each!(TypedPool, &self.pool, pool => prepared_query::fetch_many(pool, statement))
            }
            Err(error) => prepared_query::failed(error),
        }
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Any>,
    {
        match UntypedStatement::new(query) {
            Ok(statement) => {
                let pool = &self.pool;
                each!(TypedPool, pool, pool => prepared_query::fetch_optional(pool, statement))
            }
            Err(error) => future::err(error).boxed(),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        _: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, Error>>
    where
        'p: 'e,
    {
        each!(TypedPool, &self.pool, pool => prepared_query::prepare(pool, sql))
    }

    // Required because the workspace enables sqlx's feature `macros`.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
    where
        'p: 'e,
    {
        each!(TypedPool, &self.pool, pool => prepared_query::describe(pool, sql))
    }
}

/// Forwards all methods to the type that the executor dereferences to.
macro_rules! forward_executor {
    ($executor:ty) => {
        impl<'c> Executor<'c> for &'c mut $executor {
            type Database = Any;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<'e, Result<Either<AnyQueryResult, AnyRow>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                (&mut **self).fetch_many(query)
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, Any>,
            {
                (&mut **self).fetch_optional(query)
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                types: &'e [AnyTypeInfo],
            ) -> BoxFuture<'e, Result<AnyStatement, Error>>
            where
                'c: 'e,
            {
                (&mut **self).prepare_with(sql, types)
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Any>, Error>>
            where
                'c: 'e,
            {
                (&mut **self).describe(sql)
            }
        }
    };
}

forward_executor!(DatabaseLease);
forward_executor!(DatabaseTransaction<'_>);
