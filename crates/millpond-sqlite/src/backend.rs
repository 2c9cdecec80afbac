//! SQLite's implementation of [`Backend`].

use crate::error_class;
use crate::only_reads::{only_reads, returns_what_it_wrote};
use crate::parameter_zero::has_parameter_zero;
use crate::schema;
use crate::verify::{is_alive, is_marked, mark, transaction_state, verify};
use millpond_core::async_trait;
use millpond_sqlx::backend_api::{
    Backend, ErrorImpact, KnownSchema, MayEnd, OpenTransaction, StatementEffect, TransactionState,
    Unfinished, Verified, effect_of, is_blank, truncated_error,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, Describe, Error, Executor, SqlStr, Sqlite, SqliteConnection, Statement};

/// SQLite's [`Backend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqliteBackend;

#[async_trait]
impl Backend<Sqlite> for SqliteBackend {
    fn effect(&self, sql: &str) -> StatementEffect {
        match effect_of(sql) {
            StatementEffect::None => StatementEffect::None,
            // SQLite has no setting that disables autocommit, so a statement in doubt only needs a
            // verification.
            _ => StatementEffect::Doubt,
        }
    }

    /// An empty database in memory.
    fn stand_in(&self) -> Result<Option<SqliteConnectOptions>, Error> {
        Ok(Some(SqliteConnectOptions::new().in_memory(true)))
    }

    /// Refuses texts with a NUL, at which SQLite ends a text: the driver would then loop forever
    /// over the rest. Refuses the placeholder `$0`, on which the driver's thread panics.
    fn admit(&self, sql: &str) -> Result<(), Error> {
        if has_parameter_zero(sql) {
            let text = "placeholders are counted from 1: there is no argument $0";
            return Err(Error::InvalidArgument(text.to_owned()));
        }
        if sql.as_bytes().contains(&0) {
            let text = "the statement contains a NUL character, at which SQLite ends a text: bind \
                the value that has it";
            return Err(Error::InvalidArgument(text.to_owned()));
        }
        Ok(())
    }

    fn stops_after_one_row(&self) -> bool {
        // sqlx's worker resets the statement after the first row.
        true
    }

    fn ends_by_itself(&self, sql: &str) -> bool {
        returns_what_it_wrote(sql)
    }

    /// Describes a prepared statement. sqlx's own `describe` determines nullable columns, and
    /// crashes the process on a column declared without a type.
    async fn describe(
        &self,
        conn: &mut SqliteConnection,
        sql: &SqlStr,
    ) -> Result<Option<Describe<Sqlite>>, Error> {
        let statement = conn.prepare(sql.clone()).await?;
        let columns = statement.columns().to_vec();
        let parameters = statement.parameters().map(|them| them.map_left(<[_]>::to_vec));
        Ok(Some(Describe { nullable: vec![None; columns.len()], columns, parameters }))
    }

    fn may_be_empty(&self, sql: &str) -> bool {
        is_blank(sql)
    }

    async fn confirm(&self, conn: &mut SqliteConnection) -> Result<(), Error> {
        is_alive(conn).await.map_err(|_| truncated_error())
    }

    async fn resume(
        &self,
        conn: &mut SqliteConnection,
        _unfinished: Unfinished,
    ) -> Result<Vec<Error>, Error> {
        is_alive(conn).await.map(|()| Vec::new())
    }

    fn depends_on_schema(&self, sql: &str) -> bool {
        schema::depends_on_schema(sql)
    }

    fn only_reads(&self, sql: &str) -> bool {
        only_reads(sql)
    }

    async fn check_schema(
        &self,
        conn: &mut SqliteConnection,
        known: &mut KnownSchema,
        sql: &str,
        open: OpenTransaction,
    ) -> Result<(), Error> {
        schema::refresh_if_changed(conn, known, sql, open).await
    }

    async fn recheck_schema(
        &self,
        conn: &mut SqliteConnection,
        known: &KnownSchema,
    ) -> Result<bool, Error> {
        schema::is_unchanged(conn, known).await
    }

    async fn clear_caches(&self, conn: &mut SqliteConnection) -> Result<(), Error> {
        conn.clear_cached_statements().await
    }

    fn clear_caches_first(&self, conn: &mut SqliteConnection, open: OpenTransaction) {
        schema::clear_caches_first(conn, open);
    }

    fn error_impact(&self, error: &Error) -> ErrorImpact {
        error_class::error_impact(error)
    }

    fn ends_transaction(&self, _keyword: &str) -> MayEnd {
        MayEnd::Never
    }

    async fn transaction_state(
        &self,
        conn: &mut SqliteConnection,
        mark: Option<&str>,
    ) -> Result<TransactionState, Error> {
        match mark {
            Some(mark) => is_marked(conn, mark).await,
            None => transaction_state(conn).await,
        }
    }

    async fn mark(&self, conn: &mut SqliteConnection) -> Result<Option<String>, Error> {
        mark(conn).await.map(Some)
    }

    async fn verify(&self, conn: &mut SqliteConnection) -> Result<Verified, Error> {
        verify(conn).await?;
        Ok(Verified::InSync { late_errors: Vec::new() })
    }
}

/// The instance that all connections share.
pub(crate) static SQLITE: SqliteBackend = SqliteBackend;
