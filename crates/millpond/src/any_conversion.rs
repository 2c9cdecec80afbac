//! Converts between each database's types and sqlx's `Any` types: one implementation per database,
//! each in its own file.
//!
//! sqlx has such a conversion too. It fails the whole row for a date on SQLite or PostgreSQL,
//! returns wrong values for unsigned integers on MySQL, and confuses `NULL` of type REAL with
//! `NULL` of type DOUBLE in arguments. Here, a value that cannot be converted is an error that
//! names the column.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use crate::dialect::Dialect;
use crate::statement::RowEffect;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyTypeInfo, AnyTypeInfoKind, AnyValue};
use sqlx::error::BoxDynError;
use sqlx::{Any, Arguments, Column, ColumnIndex, Database, Encode, Error, Row, Type, ValueRef};
use sqlx_core::any::AnyValueKind;
use std::sync::Arc;

/// Holds a column's name, position and kind.
pub(crate) type AnyColumn = <Any as Database>::Column;

/// A database whose rows can be converted to [`Any`].
pub(crate) trait AnyConversion: Database<Row: ReadByPosition> {
    /// Returns the kind of database.
    const DIALECT: Dialect;

    /// Returns the kind of a column with this declared type.
    fn kind(declared: &Self::TypeInfo) -> AnyTypeInfoKind;

    /// Converts a non-NULL value of a column whose kind is `declared`.
    ///
    /// # Errors
    ///
    /// Returns an error for a value that cannot be converted without loss.
    fn value(
        value: Self::ValueRef<'_>,
        declared: AnyTypeInfoKind,
    ) -> Result<AnyValueKind, BoxDynError>;

    /// Returns a value that the driver mistakes for NULL, if this is one.
    fn not_null(_: Self::ValueRef<'_>) -> Option<AnyValueKind> {
        None
    }

    /// Adds an argument in the database's own type.
    fn argument(argument: AnyValueKind, to: &mut Self::Arguments) -> Result<(), BoxDynError>;

    /// Returns the number of changed rows, and the key of the last inserted row.
    fn outcome(result: Self::QueryResult, effect: RowEffect) -> AnyQueryResult;
}

/// A row whose columns can be read by position.
pub(crate) trait ReadByPosition: Row {
    fn raw(&self, position: usize) -> Result<<Self::Database as Database>::ValueRef<'_>, Error>;
}

impl<R: Row> ReadByPosition for R
where
    usize: ColumnIndex<R>,
{
    fn raw(&self, position: usize) -> Result<<Self::Database as Database>::ValueRef<'_>, Error> {
        self.try_get_raw(position)
    }
}

/// Converts the columns of one database to `Any` columns.
pub(crate) fn columns<DB: AnyConversion>(columns: &[DB::Column]) -> Vec<AnyColumn> {
    let convert = |column: &DB::Column| AnyColumn {
        ordinal: column.ordinal(),
        name: column.name().to_owned().into(),
        type_info: AnyTypeInfo { kind: DB::kind(column.type_info()) },
    };
    columns.iter().map(convert).collect()
}

/// Converts the rows of a result. The column names are collected once per result, not once per row.
#[derive(Default)]
pub(crate) struct Rows {
    /// An empty row with the columns of the current result.
    blank: Option<AnyRow>,
}

impl Rows {
    /// Ends the current result; the next one may have other columns.
    pub(crate) fn end(&mut self) {
        self.blank = None;
    }

    pub(crate) fn convert<DB: AnyConversion>(&mut self, row: &DB::Row) -> Result<AnyRow, Error> {
        let blank = self.blank.get_or_insert_with(|| {
            let columns = columns::<DB>(row.columns());
            let names =
                columns.iter().map(|column| (column.name.clone(), column.ordinal)).collect();
            AnyRow { column_names: Arc::new(names), columns, values: Vec::new() }
        });
        let mut values = Vec::with_capacity(blank.columns.len());
        for (position, column) in blank.columns.iter().enumerate() {
            let value = row.raw(position)?;
            let declared = column.type_info.kind;
            let kind = match value.is_null() {
                true => DB::not_null(value).unwrap_or(AnyValueKind::Null(declared)),
                false => DB::value(value, declared).map_err(|source| Error::ColumnDecode {
                    index: column.name.to_string(),
                    source,
                })?,
            };
            values.push(AnyValue { kind });
        }
        Ok(AnyRow {
            column_names: Arc::clone(&blank.column_names),
            columns: blank.columns.clone(),
            values,
        })
    }
}

/// Converts the arguments to the database's own types.
pub(crate) fn arguments<DB: AnyConversion>(
    arguments: AnyArguments,
) -> Result<DB::Arguments, BoxDynError> {
    let mut typed = DB::Arguments::default();
    for argument in arguments.values.0 {
        DB::argument(argument, &mut typed)?;
    }
    Ok(typed)
}

/// Adds an argument, for a database that has all of these types and a NULL of each.
fn add<'q, A: Arguments>(argument: AnyValueKind, to: &mut A) -> Result<(), BoxDynError>
where
    Option<bool>: Type<A::Database> + Encode<'q, A::Database>,
    Option<i16>: Type<A::Database> + Encode<'q, A::Database>,
    Option<i32>: Type<A::Database> + Encode<'q, A::Database>,
    Option<i64>: Type<A::Database> + Encode<'q, A::Database>,
    Option<f32>: Type<A::Database> + Encode<'q, A::Database>,
    Option<f64>: Type<A::Database> + Encode<'q, A::Database>,
    Option<String>: Type<A::Database> + Encode<'q, A::Database>,
    Option<Vec<u8>>: Type<A::Database> + Encode<'q, A::Database>,
    Arc<String>: Type<A::Database> + Encode<'q, A::Database>,
    Arc<str>: Type<A::Database> + Encode<'q, A::Database>,
    Arc<Vec<u8>>: Type<A::Database> + Encode<'q, A::Database>,
{
    match argument {
        AnyValueKind::Null(AnyTypeInfoKind::Bool) => to.add(None::<bool>),
        AnyValueKind::Null(AnyTypeInfoKind::SmallInt) => to.add(None::<i16>),
        AnyValueKind::Null(AnyTypeInfoKind::Integer | AnyTypeInfoKind::Null) => to.add(None::<i32>),
        AnyValueKind::Null(AnyTypeInfoKind::BigInt) => to.add(None::<i64>),
        AnyValueKind::Null(AnyTypeInfoKind::Real) => to.add(None::<f32>),
        AnyValueKind::Null(AnyTypeInfoKind::Double) => to.add(None::<f64>),
        AnyValueKind::Null(AnyTypeInfoKind::Text) => to.add(None::<String>),
        AnyValueKind::Null(AnyTypeInfoKind::Blob) => to.add(None::<Vec<u8>>),
        AnyValueKind::Bool(value) => to.add(Some(value)),
        AnyValueKind::SmallInt(value) => to.add(Some(value)),
        AnyValueKind::Integer(value) => to.add(Some(value)),
        AnyValueKind::BigInt(value) => to.add(Some(value)),
        AnyValueKind::Real(value) => to.add(Some(value)),
        AnyValueKind::Double(value) => to.add(Some(value)),
        AnyValueKind::Text(value) => to.add(value),
        AnyValueKind::TextSlice(value) => to.add(value),
        AnyValueKind::Blob(value) => to.add(value),
        other => Err(format!(
            "an argument of the kind {:?} is not supported",
            std::mem::discriminant(&other)
        )
        .into()),
    }
}

/// Builds a text value.
fn text(text: impl Into<String>) -> AnyValueKind {
    AnyValueKind::Text(Arc::new(text.into()))
}

/// Builds a value of bytes.
fn blob(bytes: impl Into<Vec<u8>>) -> AnyValueKind {
    AnyValueKind::Blob(Arc::new(bytes.into()))
}
