//! Converts between MySQL's and MariaDB's types and sqlx's `Any` types.
//!
//! Numbers keep their type; unsigned numbers take the next larger type, and `BIT` and `YEAR` are
//! numbers. A `BIGINT UNSIGNED` or `BIT(64)` beyond 2^63 - 1 is an error that names the column.
//! MySQL has no booleans: 0 and 1 in a column declared as `BOOLEAN`, which is `TINYINT(1)`, become
//! `Bool`. Texts, `DECIMAL`, `JSON`, `ENUM` and `SET` become `Text`; so do dates and times, without
//! trailing zeros in the decimals, and the zero date (`0000-00-00`), which the driver mistakes for
//! NULL. Binary strings and geometries become `Blob`.

mod times;

use super::{AnyConversion, add, blob, text};
use crate::dialect::Dialect;
use crate::statement::RowEffect;
use sqlx::any::{AnyQueryResult, AnyTypeInfoKind};
use sqlx::error::BoxDynError;
use sqlx::mysql::{MySqlArguments, MySqlQueryResult, MySqlTypeInfo, MySqlValueRef};
use sqlx::{Decode, MySql, Type, TypeInfo, ValueRef};
use sqlx_core::any::AnyValueKind;

impl AnyConversion for MySql {
    const DIALECT: Dialect = Dialect::MySql;

    fn kind(declared: &MySqlTypeInfo) -> AnyTypeInfoKind {
        // The binary flag, by which type names distinguish texts from bytes, is also set for texts
        // with a binary collation.
        if <str as Type<MySql>>::compatible(declared) {
            return AnyTypeInfoKind::Text;
        }
        match declared.name() {
            "BOOLEAN" => AnyTypeInfoKind::Bool,
            "TINYINT" | "TINYINT UNSIGNED" | "SMALLINT" | "YEAR" => AnyTypeInfoKind::SmallInt,
            "SMALLINT UNSIGNED" | "MEDIUMINT" | "MEDIUMINT UNSIGNED" | "INT" => {
                AnyTypeInfoKind::Integer
            }
            "INT UNSIGNED" | "BIGINT" | "BIGINT UNSIGNED" | "BIT" => AnyTypeInfoKind::BigInt,
            "FLOAT" => AnyTypeInfoKind::Real,
            "DOUBLE" => AnyTypeInfoKind::Double,
            "NULL" => AnyTypeInfoKind::Null,
            "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB"
            | "GEOMETRY" => AnyTypeInfoKind::Blob,
            _ => AnyTypeInfoKind::Text,
        }
    }

    fn value(
        value: MySqlValueRef<'_>,
        declared: AnyTypeInfoKind,
    ) -> Result<AnyValueKind, BoxDynError> {
        Ok(match declared {
            AnyTypeInfoKind::Bool => match integer(value)? {
                number @ (0 | 1) => AnyValueKind::Bool(number == 1),
                number => AnyValueKind::SmallInt(number.try_into()?),
            },
            AnyTypeInfoKind::SmallInt => AnyValueKind::SmallInt(integer(value)?.try_into()?),
            AnyTypeInfoKind::Integer => AnyValueKind::Integer(integer(value)?.try_into()?),
            AnyTypeInfoKind::BigInt => AnyValueKind::BigInt(integer(value)?),
            AnyTypeInfoKind::Real => AnyValueKind::Real(decode(value)?),
            AnyTypeInfoKind::Double => AnyValueKind::Double(decode(value)?),
            AnyTypeInfoKind::Blob => blob(decode::<&[u8]>(value)?),
            AnyTypeInfoKind::Text | AnyTypeInfoKind::Null => {
                let declared = value.type_info().into_owned();
                text(match declared.name() {
                    "DATE" => times::date(decode(value)?)?,
                    "DATETIME" | "TIMESTAMP" => times::timestamp(decode(value)?)?,
                    "TIME" => times::time(decode(value)?)?,
                    _ => decode::<&str>(value)?.to_owned(),
                })
            }
        })
    }

    fn not_null(value: MySqlValueRef<'_>) -> Option<AnyValueKind> {
        let declared = value.type_info().into_owned();
        let zero = match declared.name() {
            "DATE" => "0000-00-00",
            "DATETIME" | "TIMESTAMP" => "0000-00-00 00:00:00",
            _ => return None,
        };
        // A NULL has no bytes.
        decode::<&[u8]>(value).is_ok().then(|| text(zero))
    }

    fn argument(argument: AnyValueKind, to: &mut MySqlArguments) -> Result<(), BoxDynError> {
        add(argument, to)
    }

    fn outcome(result: MySqlQueryResult, effect: RowEffect) -> AnyQueryResult {
        let mut outcome = AnyQueryResult::default();
        if effect != RowEffect::Nothing {
            outcome.rows_affected = result.rows_affected();
        }
        // 0 means that the table has no auto-increment key.
        let key = i64::try_from(result.last_insert_id()).ok().filter(|key| *key != 0);
        if effect == RowEffect::Insert && outcome.rows_affected > 0 {
            outcome.last_insert_id = key;
        }
        outcome
    }
}

fn decode<'r, T: Decode<'r, MySql>>(value: MySqlValueRef<'r>) -> Result<T, BoxDynError> {
    T::decode(value)
}

/// Reads an integer of any width, signed or unsigned.
fn integer(value: MySqlValueRef<'_>) -> Result<i64, BoxDynError> {
    let declared = value.type_info().into_owned();
    if !<u64 as Type<MySql>>::compatible(&declared) {
        return decode(value);
    }
    let number: u64 = decode(value)?;
    i64::try_from(number).map_err(|_| {
        format!(
            "{number} is beyond the range of i64: write `CAST(column AS CHAR)` in the statement, \
             or use the typed pool"
        )
        .into()
    })
}
