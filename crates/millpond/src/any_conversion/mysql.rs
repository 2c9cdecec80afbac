//! MySQL's and MariaDB's types in `Any`'s terms.
//!
//! Numbers cross as what they are: unsigned ones in the next larger type, `BIT` and `YEAR` as
//! numbers. A `BIGINT UNSIGNED` or `BIT(64)` beyond 2^63 - 1 is an error that names the column.
//! There are no booleans: 0 and 1 in a column that was declared `BOOLEAN`, which is `TINYINT(1)`,
//! are `Bool`. Texts, `DECIMAL`, `JSON`, `ENUM` and `SET` are `Text`; so are dates and times,
//! without decimals that are zero, and the zero date (`0000-00-00`) as well, which the driver takes
//! for NULL. Binary strings and geometries are `Blob`.

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
        // The binary flag, by which the names tell texts from bytes, is set for texts that are
        // compared byte by byte too.
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
        // Of a NULL there are no bytes.
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
        // 0 is no key: the table makes none.
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

/// A number of any width, with or without a sign.
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
