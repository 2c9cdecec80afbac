//! From one database's own types to sqlx's `Any` types and back: one implementation, and one file, a backend.
//!
//! sqlx has such a conversion too. It fails the whole row for a BOOLEAN or a date on SQLite, and is silently wrong for
//! unsigned integers on MySQL; so this one is our own. What it cannot convert is an error that names the column.
//!
//! The fields of [`AnyRow`] and its relatives are public in sqlx and hidden from its documentation. Struct literals
//! reach them through the facade crate, without naming a type of `sqlx-core`.

#[cfg(feature = "sqlite")]
mod sqlite;

use crate::backend::Backend;
use crate::statement::Outline;
use sqlx::any::{AnyArguments, AnyQueryResult, AnyRow, AnyTypeInfo, AnyTypeInfoKind, AnyValue};
use sqlx::error::BoxDynError;
use sqlx::{Any, Column, ColumnIndex, Database, Encode, Error, Row, ValueRef};
use std::sync::Arc;

/// What a column's name, number and kind are kept in.
pub(crate) type AnyColumn = <Any as Database>::Column;

/// Values on their way into a row, in the order of its columns. Written to with [`Encode`].
pub(crate) type Values = <Any as Database>::ArgumentBuffer;

/// A database whose rows can cross to [`Any`].
pub(crate) trait Bridge: Database<Row: ReadByPosition> {
    /// Which database it is.
    const BACKEND: Backend;

    /// What a column of this type holds, as far as its declaration tells.
    fn kind(declared: &Self::TypeInfo) -> AnyTypeInfoKind;

    /// Writes a value that is not NULL, exactly one.
    ///
    /// # Errors
    ///
    /// Whatever cannot cross unchanged.
    fn value(value: Self::ValueRef<'_>, declared: AnyTypeInfoKind, out: &mut Values) -> Result<(), BoxDynError>;

    /// The arguments in the database's own types.
    ///
    /// `AnyArguments::convert_into` exchanges `NULL` of type REAL and `NULL` of type DOUBLE; where a NULL has a type,
    /// it must not be used as it is.
    fn arguments(arguments: AnyArguments) -> Result<Self::Arguments, BoxDynError>;

    /// How many rows were changed, and the key of the last one that was added.
    fn outcome(result: Self::QueryResult, statement: Outline) -> AnyQueryResult;
}

/// A row whose columns can be read by their position.
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

/// The columns of one database in `Any`'s terms.
pub(crate) fn columns<DB: Bridge>(columns: &[DB::Column]) -> Vec<AnyColumn> {
    let convert = |column: &DB::Column| AnyColumn {
        ordinal: column.ordinal(),
        name: column.name().to_owned().into(),
        type_info: AnyTypeInfo { kind: DB::kind(column.type_info()) },
    };
    columns.iter().map(convert).collect()
}

/// Converts the rows of a result. The names of its columns are gathered once, not for every row.
#[derive(Default)]
pub(crate) struct Rows {
    /// A row with the columns of the present result and no values.
    blank: Option<AnyRow>,
}

impl Rows {
    /// The result is complete; another one may have other columns.
    pub(crate) fn end(&mut self) {
        self.blank = None;
    }

    pub(crate) fn convert<DB: Bridge>(&mut self, row: &DB::Row) -> Result<AnyRow, Error> {
        let blank = self.blank.get_or_insert_with(|| {
            let columns = columns::<DB>(row.columns());
            let names = columns.iter().map(|column| (column.name.clone(), column.ordinal)).collect();
            AnyRow { column_names: Arc::new(names), columns, values: Vec::new() }
        });
        let mut values = Values::default();
        for (position, column) in blank.columns.iter().enumerate() {
            let value = row.raw(position)?;
            let declared = column.type_info.kind;
            let written =
                if value.is_null() { null(declared, &mut values) } else { DB::value(value, declared, &mut values) };
            written.map_err(|source| Error::ColumnDecode { index: column.name.to_string(), source })?;
        }
        let values = values.0.into_iter().map(|kind| AnyValue { kind }).collect();
        Ok(AnyRow { column_names: Arc::clone(&blank.column_names), columns: blank.columns.clone(), values })
    }
}

/// Writes a NULL that remembers the column's type.
fn null(declared: AnyTypeInfoKind, out: &mut Values) -> Result<(), BoxDynError> {
    match declared {
        AnyTypeInfoKind::Bool => write(None::<bool>, out),
        AnyTypeInfoKind::SmallInt => write(None::<i16>, out),
        AnyTypeInfoKind::Integer | AnyTypeInfoKind::Null => write(None::<i32>, out),
        AnyTypeInfoKind::BigInt => write(None::<i64>, out),
        AnyTypeInfoKind::Real => write(None::<f32>, out),
        AnyTypeInfoKind::Double => write(None::<f64>, out),
        AnyTypeInfoKind::Text => write(None::<String>, out),
        AnyTypeInfoKind::Blob => write(None::<Vec<u8>>, out),
    }
}

/// Writes one value of a Rust type.
fn write<'q, T: Encode<'q, Any>>(value: T, out: &mut Values) -> Result<(), BoxDynError> {
    value.encode(out).map(|_| ())
}
