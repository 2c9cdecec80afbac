//! Converts between PostgreSQL's types and sqlx's `Any` types.
//!
//! `boolean`, `smallint`, `integer`, `bigint`, `real`, `double precision` and `bytea` keep their
//! type; `oid` becomes `BigInt`. Every other type with one obvious text form becomes `Text`, in the
//! form that the server itself writes: dates in ISO style, times of day with a zone in UTC,
//! intervals in the style `postgres`. Nothing is rounded. For arrays, ranges, composite and
//! geometric types and `money` the driver has only a binary form: they are an error that names the
//! column and says how to query the text. (`raw_sql` gets text from the server, so it returns all
//! types.)

mod network;
mod numbers;
mod times;

use super::{AnyConversion, add, blob, text};
use crate::dialect::Dialect;
use crate::statement::RowEffect;
use sqlx::any::{AnyQueryResult, AnyTypeInfoKind};
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArguments, PgQueryResult, PgTypeInfo, PgTypeKind, PgValueFormat, PgValueRef, Postgres,
};
use sqlx::{Decode, TypeInfo, ValueRef};
use sqlx_core::any::AnyValueKind;
use std::str;

/// The object ids of the supported types, from PostgreSQL's catalogue `pg_type`; they never change.
/// Names are not unique: any user can create a type named `uuid`.
mod oid {
    pub const BOOL: u32 = 16;
    pub const BYTEA: u32 = 17;
    pub const CHAR: u32 = 18;
    pub const NAME: u32 = 19;
    pub const INT8: u32 = 20;
    pub const INT2: u32 = 21;
    pub const INT4: u32 = 23;
    pub const TEXT: u32 = 25;
    pub const OID: u32 = 26;
    pub const JSON: u32 = 114;
    pub const XML: u32 = 142;
    pub const CIDR: u32 = 650;
    pub const FLOAT4: u32 = 700;
    pub const FLOAT8: u32 = 701;
    pub const UNKNOWN: u32 = 705;
    pub const MACADDR8: u32 = 774;
    pub const MACADDR: u32 = 829;
    pub const INET: u32 = 869;
    pub const BPCHAR: u32 = 1042;
    pub const VARCHAR: u32 = 1043;
    pub const DATE: u32 = 1082;
    pub const TIME: u32 = 1083;
    pub const TIMESTAMP: u32 = 1114;
    pub const TIMESTAMPTZ: u32 = 1184;
    pub const INTERVAL: u32 = 1186;
    pub const TIMETZ: u32 = 1266;
    pub const BIT: u32 = 1560;
    pub const VARBIT: u32 = 1562;
    pub const NUMERIC: u32 = 1700;
    pub const REFCURSOR: u32 = 1790;
    pub const VOID: u32 = 2278;
    pub const UUID: u32 = 2950;
    pub const JSONB: u32 = 3802;
    pub const JSONPATH: u32 = 4072;
}

impl AnyConversion for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;

    fn kind(declared: &PgTypeInfo) -> AnyTypeInfoKind {
        match number(declared) {
            oid::BOOL => AnyTypeInfoKind::Bool,
            oid::INT2 => AnyTypeInfoKind::SmallInt,
            oid::INT4 => AnyTypeInfoKind::Integer,
            oid::INT8 | oid::OID => AnyTypeInfoKind::BigInt,
            oid::FLOAT4 => AnyTypeInfoKind::Real,
            oid::FLOAT8 => AnyTypeInfoKind::Double,
            oid::BYTEA => AnyTypeInfoKind::Blob,
            oid::VOID => AnyTypeInfoKind::Null,
            _ => AnyTypeInfoKind::Text,
        }
    }

    fn value(value: PgValueRef<'_>, _: AnyTypeInfoKind) -> Result<AnyValueKind, BoxDynError> {
        let declared = value.type_info().into_owned();
        Ok(match number(&declared) {
            oid::BOOL => AnyValueKind::Bool(decode(value)?),
            oid::INT2 => AnyValueKind::SmallInt(decode(value)?),
            oid::INT4 => AnyValueKind::Integer(decode(value)?),
            oid::INT8 => AnyValueKind::BigInt(decode(value)?),
            oid::OID => AnyValueKind::BigInt(decode::<Oid>(value)?.0.into()),
            oid::FLOAT4 => AnyValueKind::Real(decode(value)?),
            oid::FLOAT8 => AnyValueKind::Double(decode(value)?),
            oid::BYTEA => blob(decode::<Vec<u8>>(value)?),
            oid::VOID => AnyValueKind::Null(AnyTypeInfoKind::Null),
            _ if value.format() == PgValueFormat::Text => text(value.as_str()?),
            _ => text(written(&declared, value.as_bytes()?)?),
        })
    }

    fn argument(argument: AnyValueKind, to: &mut PgArguments) -> Result<(), BoxDynError> {
        add(argument, to)
    }

    fn outcome(result: PgQueryResult, effect: RowEffect) -> AnyQueryResult {
        let mut outcome = AnyQueryResult::default();
        // The server also counts the rows that a SELECT returns; only changed rows count here.
        if effect != RowEffect::Nothing {
            outcome.rows_affected = result.rows_affected();
        }
        outcome
    }
}

/// Returns the object id of a type, or 0 if it has none.
fn number(declared: &PgTypeInfo) -> u32 {
    declared.oid().map_or(0, |oid| oid.0)
}

fn decode<'r, T: Decode<'r, Postgres>>(value: PgValueRef<'r>) -> Result<T, BoxDynError> {
    T::decode(value)
}

/// Formats a value in binary form as the server would write it.
fn written(declared: &PgTypeInfo, bytes: &[u8]) -> Result<String, BoxDynError> {
    match number(declared) {
        oid::TEXT
        | oid::VARCHAR
        | oid::BPCHAR
        | oid::NAME
        | oid::UNKNOWN
        | oid::JSON
        | oid::XML
        | oid::REFCURSOR => utf8(bytes),
        oid::CHAR => utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)),
        oid::JSONB | oid::JSONPATH => match bytes.split_first() {
            Some((1, text)) => utf8(text),
            _ => Err(malformed()),
        },
        oid::UUID => numbers::uuid(bytes),
        oid::NUMERIC => numbers::numeric(bytes),
        oid::BIT | oid::VARBIT => numbers::bits(bytes),
        oid::DATE => times::date(bytes),
        oid::TIME => times::time(bytes),
        oid::TIMETZ => times::time_with_zone(bytes),
        oid::TIMESTAMP => times::timestamp(bytes, ""),
        oid::TIMESTAMPTZ => times::timestamp(bytes, "+00"),
        oid::INTERVAL => times::interval(bytes),
        oid::INET => network::address(bytes),
        oid::CIDR => network::network(bytes),
        oid::MACADDR | oid::MACADDR8 => Ok(network::hardware(bytes)),
        _ if is_text_form(declared) => utf8(bytes),
        _ => Err(unsupported_type(declared)),
    }
}

/// Returns true for an enum, and for `citext` of the extension of that name.
fn is_text_form(declared: &PgTypeInfo) -> bool {
    // The driver names a type that it has not looked up `?`, and panics when its kind is read.
    match declared.name() {
        "?" => false,
        name => match declared.kind() {
            PgTypeKind::Enum(_) => true,
            PgTypeKind::Simple => name.eq_ignore_ascii_case("citext"),
            _ => false,
        },
    }
}

fn utf8(bytes: &[u8]) -> Result<String, BoxDynError> {
    Ok(str::from_utf8(bytes)?.to_owned())
}

fn unsupported_type(declared: &PgTypeInfo) -> BoxDynError {
    let name = declared.name();
    format!(
        "PostgreSQL's {name} has no counterpart here: write `column::text` in the statement, or \
         use the typed pool"
    )
    .into()
}

fn malformed() -> BoxDynError {
    "the server sent a value of an unknown form: write `column::text` in the statement, or use \
     the typed pool"
        .into()
}

/// Splits off the first `N` bytes.
fn split<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), BoxDynError> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or_else(malformed)?;
    Ok((*first, rest))
}

/// Returns all bytes if there are exactly `N`.
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], BoxDynError> {
    bytes.try_into().map_err(|_| malformed())
}
