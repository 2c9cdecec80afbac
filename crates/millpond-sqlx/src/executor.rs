//! sqlx's `Executor` for pools and for tracked connections.
//!
//! A pool acquires a connection for each statement and returns it afterwards. sqlx's
//! `fetch_one(&pool)` and similar methods do not pass on their caller's location, so a timeout
//! error and `holders()` show the first words of the statement ([`label`]). For the location of a
//! query, use [`SqlPool::acquire`].

use crate::command::{Command, ForDriver};
use crate::execute::Steps;
use crate::generated_stream::generate;
use crate::label;
use crate::pool::SqlPool;
use crate::sync_state::SyncState;
use crate::tracked::Tracked;
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

    // Required because the workspace enables sqlx's feature `macros`.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, Error>>
    where
        'p: 'e,
    {
        let lease = self.acquire_for_statement(sql.as_str(), label::request(sql.as_str()));
        Box::pin(async move { lease.await?.describe(sql).await })
    }
}

impl<'c, DB: Database> Executor<'c> for &'c mut Tracked<DB>
where
    for<'x> &'x mut DB::Connection: Executor<'x, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Steps<'e, DB>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        let command = match self.command(query) {
            Ok(command) => command,
            Err(error) => return stream::once(future::err(error)).boxed(),
        };
        if let Some(wrapper) = self.transaction_wrapper()
            && (command.is_prepared() || !self.backend().runs_outside_transaction(command.text()))
        {
            return generate(move |out| self.execute_wrapped(wrapper, command, out)).boxed();
        }
        if command.is_prepared()
            && let Some(deallocate) = self.deallocate_if_due()
        {
            return generate(move |out| self.deallocate_then_execute(deallocate, command, out))
                .boxed();
        }
        let effect = self.backend().effect(command.text());
        if self.is_plain(effect) && !self.needs_schema_check(command.text()) {
            if self.may_be_misread(&command) {
                return generate(move |out| async move { self.forward_rows(command, &out).await })
                    .boxed();
            }
            return self.fetch_stream(effect, command);
        }
        generate(move |out| async move { self.execute_tracked(effect, command, &out).await })
            .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        match Command::new(query) {
            Ok(mut command) => Box::pin(async move { self.first(&mut command).await }),
            Err(error) => Box::pin(future::err(error)),
        }
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.backend().admit(sql.as_str())?;
            if let Some(wrapper) = self.transaction_wrapper() {
                return self.prepare_wrapped(wrapper, sql, parameters).await;
            }
            self.resume().await?;
            self.check_schema(sql.as_str()).await?;
            let (conn, guard) = self.begin_operation(SyncState::Clean);
            guard.track(conn.prepare_with(sql, parameters)).await
        })
    }

    // Required because the workspace enables sqlx's feature `macros`.
    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            self.backend().admit(sql.as_str())?;
            if let Some(wrapper) = self.transaction_wrapper() {
                return self.describe_wrapped(wrapper, sql).await;
            }
            self.resume().await?;
            self.check_schema(sql.as_str()).await?;
            let backend = self.backend();
            let (conn, guard) = self.begin_operation(SyncState::Clean);
            let described = async move {
                match backend.describe(conn, &sql).await? {
                    Some(described) => Ok(described),
                    None => conn.describe(sql).await,
                }
            };
            guard.track(Box::pin(described)).await
        })
    }
}
