//! Executes a statement in sqlx's `Any` types on a typed executor, and converts its results.

use crate::any_conversion::{self, AnyConversion, Rows};
use crate::placeholder;
use crate::statement::Outline;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::error::BoxDynError;
use sqlx::{Any, Database, Describe, Either, Error, Execute, Executor, SqlStr, Statement};
use std::fmt;
use std::future;
use std::sync::Arc;

/// One item of a statement's results: the outcome of a statement, or a row.
pub type Answer = Result<Either<AnyQueryResult, AnyRow>, Error>;

/// A statement with its arguments, before its database is known.
pub struct UntypedStatement {
    sql: SqlStr,
    arguments: Option<AnyArguments>,
    persistent: bool,
}

/// Omits the statement and its arguments, which may be confidential.
impl fmt::Debug for UntypedStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntypedStatement").finish_non_exhaustive()
    }
}

impl UntypedStatement {
    /// Takes a query apart into its text and arguments.
    ///
    /// # Errors
    ///
    /// Returns an error if an argument could not be encoded.
    pub(crate) fn new<'q, E: Execute<'q, Any>>(mut query: E) -> Result<Self, Error> {
        let arguments = query.take_arguments().map_err(Error::Encode)?;
        let persistent = query.persistent();
        Ok(Self { sql: query.sql(), arguments, persistent })
    }

    fn typed<DB: AnyConversion>(self) -> Result<(TypedStatement<DB>, Outline), Error> {
        let outline = Outline::of(self.sql.as_str(), DB::DIALECT);
        let (sql, arguments) = placeholder::adapt(self.sql, self.arguments, &outline, DB::DIALECT)?;
        let arguments =
            arguments.map(any_conversion::arguments::<DB>).transpose().map_err(Error::Encode)?;
        Ok((TypedStatement { sql, arguments, persistent: self.persistent }, outline))
    }
}

/// A statement with its arguments for one database.
struct TypedStatement<DB: Database> {
    sql: SqlStr,
    arguments: Option<DB::Arguments>,
    persistent: bool,
}

impl<DB: Database> Execute<'_, DB> for TypedStatement<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

/// Executes a statement and yields rows as they arrive.
pub(crate) fn fetch_many<'e, DB, X>(
    executor: X,
    statement: UntypedStatement,
) -> BoxStream<'e, Answer>
where
    DB: AnyConversion,
    X: Executor<'e, Database = DB>,
{
    let (statement, outline) = match statement.typed::<DB>() {
        Ok(typed) => typed,
        Err(error) => return failed(error),
    };
    let (mut rows, mut results) = (Rows::default(), 0_usize);
    let convert = move |answer: Result<Either<DB::QueryResult, DB::Row>, Error>| match answer? {
        Either::Left(result) => {
            rows.end();
            let effect = outline.effect(results);
            results = results.saturating_add(1);
            Ok(Either::Left(DB::outcome(result, effect)))
        }
        Either::Right(row) => rows.convert::<DB>(&row).map(Either::Right),
    };
    executor.fetch_many(statement).map(convert).boxed()
}

/// Returns a stream of a single error.
pub(crate) fn failed<'e>(error: Error) -> BoxStream<'e, Answer> {
    stream::once(future::ready(Err(error))).boxed()
}

/// Executes a statement and returns its first row.
pub(crate) fn fetch_optional<'e, DB, X>(
    executor: X,
    statement: UntypedStatement,
) -> BoxFuture<'e, Result<Option<AnyRow>, Error>>
where
    DB: AnyConversion,
    X: Executor<'e, Database = DB>,
{
    let row = match statement.typed::<DB>() {
        Ok((statement, _)) => executor.fetch_optional(statement),
        Err(error) => return future::ready(Err(error)).boxed(),
    };
    async move { row.await?.map(|row| Rows::default().convert::<DB>(&row)).transpose() }.boxed()
}

/// Prepares a statement. The given parameter types are ignored: they come from the statement's
/// text.
pub(crate) fn prepare<'e, DB, X>(
    executor: X,
    sql: SqlStr,
) -> BoxFuture<'e, Result<AnyStatement, Error>>
where
    DB: AnyConversion,
    X: Executor<'e, Database = DB>,
{
    let (text, asked) = placeholder::unbound(&sql, DB::DIALECT);
    let prepared = executor.prepare(text);
    async move {
        let statement = prepared.await?;
        let columns = any_conversion::columns::<DB>(statement.columns());
        let names = columns.iter().map(|column| (column.name.clone(), column.ordinal)).collect();
        let reported = statement.parameters().map(|parameters| parameters.map_left(types::<DB>));
        let parameters = asked.map(Either::Right).or(reported);
        Ok(AnyStatement { column_names: Arc::new(names), columns, parameters, sql })
    }
    .boxed()
}

/// Describes a statement.
pub(crate) fn describe<'e, DB, X>(
    executor: X,
    sql: SqlStr,
) -> BoxFuture<'e, Result<Describe<Any>, Error>>
where
    DB: AnyConversion,
    X: Executor<'e, Database = DB>,
{
    let described = executor.describe(placeholder::unbound(&sql, DB::DIALECT).0);
    async move {
        let described = described.await?;
        let columns = any_conversion::columns::<DB>(&described.columns);
        let parameters =
            described.parameters.map(|parameters| parameters.map_left(|them| types::<DB>(&them)));
        Ok(Describe { columns, parameters, nullable: described.nullable })
    }
    .boxed()
}

fn types<DB: AnyConversion>(types: &[DB::TypeInfo]) -> Vec<AnyTypeInfo> {
    types.iter().map(|info| AnyTypeInfo { kind: DB::kind(info) }).collect()
}
