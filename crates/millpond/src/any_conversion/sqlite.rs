//! Converts between SQLite's types and sqlx's `Any` types.
//!
//! A value keeps the type in which it is stored, whatever its column was declared as: INTEGER
//! becomes `BigInt`, REAL `Double`, TEXT `Text`, BLOB `Blob`. There is one exception, since SQLite
//! stores no booleans: 0 and 1 in a column declared as BOOLEAN become `Bool`. Dates and times are
//! the stored text or number.

use super::{AnyConversion, add, blob, text};
use crate::dialect::Dialect;
use crate::statement::RowEffect;
use sqlx::any::{AnyQueryResult, AnyTypeInfoKind};
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteQueryResult, SqliteTypeInfo, SqliteValueRef};
use sqlx::{Decode, Sqlite, TypeInfo, ValueRef};
use sqlx_core::any::AnyValueKind;

impl AnyConversion for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn kind(declared: &SqliteTypeInfo) -> AnyTypeInfoKind {
        match declared.name() {
            "BOOLEAN" => AnyTypeInfoKind::Bool,
            "INTEGER" => AnyTypeInfoKind::BigInt,
            "REAL" => AnyTypeInfoKind::Double,
            "TEXT" | "DATE" | "TIME" | "DATETIME" => AnyTypeInfoKind::Text,
            "BLOB" => AnyTypeInfoKind::Blob,
            // An expression, or a declaration such as DECIMAL that the driver does not know.
            _ => AnyTypeInfoKind::Null,
        }
    }

    fn value(
        value: SqliteValueRef<'_>,
        declared: AnyTypeInfoKind,
    ) -> Result<AnyValueKind, BoxDynError> {
        // For a non-NULL value this is the stored type.
        let stored = value.type_info().into_owned();
        Ok(match stored.name() {
            "INTEGER" => match (decode::<i64>(value)?, declared) {
                (number @ (0 | 1), AnyTypeInfoKind::Bool) => AnyValueKind::Bool(number == 1),
                (number, _) => AnyValueKind::BigInt(number),
            },
            "REAL" => AnyValueKind::Double(decode(value)?),
            "TEXT" => text(decode::<String>(value)?),
            "BLOB" => blob(decode::<&[u8]>(value)?),
            other => return Err(format!("SQLite's {other} has no counterpart here").into()),
        })
    }

    fn argument(argument: AnyValueKind, to: &mut SqliteArguments) -> Result<(), BoxDynError> {
        add(argument, to)
    }

    fn outcome(result: SqliteQueryResult, effect: RowEffect) -> AnyQueryResult {
        let mut outcome = AnyQueryResult::default();
        // After a statement that changes no row, the driver repeats the count of an earlier
        // statement, perhaps another borrower's; after one that inserts no row, the key of an
        // earlier row.
        if matches!(effect, RowEffect::Insert | RowEffect::Change) {
            outcome.rows_affected = result.rows_affected();
        }
        if effect == RowEffect::Insert && outcome.rows_affected > 0 {
            outcome.last_insert_id = Some(result.last_insert_rowid());
        }
        outcome
    }
}

fn decode<'r, T: Decode<'r, Sqlite>>(value: SqliteValueRef<'r>) -> Result<T, BoxDynError> {
    T::decode(value)
}
