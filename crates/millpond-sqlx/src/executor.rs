//! sqlx's `Executor` for a pool: lends a connection for one statement and gives it back at its end.
//!
//! sqlx's `fetch_one(&pool)` and its sisters do not hand on who called them, so the holder that a
//! timeout error or `holders()` names is the first words of the statement ([`label`]). Queries that
//! should be found by their own line go through [`SqlPool::acquire`].

use crate::command::{Command, ForDriver};
use crate::generated_stream::generate;
use crate::label;
use crate::pool::SqlPool;
use either::Either;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use sqlx::{Database, Describe, Error, Execute, Executor, SqlStr};

impl<'p, DB: Database> Executor<'p> for &'_ SqlPool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<DB::QueryResult, DB::Row>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let command = match Command::new(query) {
            Ok(command) => command,
            Err(error) => return stream::once(future::err(error)).boxed(),
        };
        let lease = self.acquire_for_statement(command.text(), label::request(command.text()));
        generate(move |out| async move {
            let mut lease = lease.await?;
            let mut steps = lease.fetch_many(ForDriver(command));
            while let Some(step) = steps.try_next().await? {
                out.put(step).await;
            }
            Ok(())
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let mut command = match Command::new(query) {
            Ok(command) => command,
            Err(error) => return Box::pin(future::err(error)),
        };
        let lease = self.acquire_for_statement(command.text(), label::request(command.text()));
        Box::pin(async move { lease.await?.first(&mut command).await })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, Error>>
    where
        'p: 'e,
    {
        let lease = self.acquire_for_statement(sql.as_str(), label::request(sql.as_str()));
        Box::pin(async move { lease.await?.prepare_with(sql, parameters).await })
    }

    // Exists because the workspace turns on sqlx's feature `macros`.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, Error>>
    where
        'p: 'e,
    {
        let lease = self.acquire_for_statement(sql.as_str(), label::request(sql.as_str()));
        Box::pin(async move { lease.await?.describe(sql).await })
    }
}
