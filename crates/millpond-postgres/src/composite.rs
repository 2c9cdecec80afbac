//! Checks that composite values have the fields that the driver has cached for their types.
//!
//! sqlx asks once for the fields of a composite type and keeps them for as long as the connection
//! lives. When the type is altered it decodes the wrong fields or panics.

use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgRow, PgTypeInfo, PgTypeKind, PgValueFormat};
use sqlx::{Column, Row, TypeInfo, ValueRef};

/// Returns true if a column of the row may hold composite values.
pub(crate) fn has_composites(row: &PgRow) -> bool {
    row.columns().iter().any(|column| holds_composites(column.type_info()))
}

/// Returns true if the composite values of the row have the fields that the driver knows.
pub(crate) fn is_as_known(row: &PgRow) -> bool {
    row.columns().iter().enumerate().all(|(n, column)| {
        let Ok(value) = row.try_get_raw(n) else { return true };
        // What is sent as text is decoded without the fields.
        value.is_null()
            || value.format() == PgValueFormat::Text
            || value.as_bytes().is_ok_and(|bytes| matches(column.type_info(), bytes).is_some())
    })
}

fn holds_composites(info: &PgTypeInfo) -> bool {
    // The driver knows no kind of a type of which it knows the number alone.
    if info.name() == "?" {
        return false;
    }
    match info.kind() {
        PgTypeKind::Composite(_) => true,
        PgTypeKind::Domain(base) | PgTypeKind::Array(base) => holds_composites(base),
        _ => false,
    }
}

/// Walks through a value. `None` if it is not of this type.
fn matches(info: &PgTypeInfo, mut bytes: &[u8]) -> Option<()> {
    if !holds_composites(info) {
        return Some(());
    }
    match info.kind() {
        PgTypeKind::Domain(base) => matches(base, bytes),
        PgTypeKind::Array(element) => {
            let dimensions = number(&mut bytes)?;
            // Flags and the number of the element's type; each dimension has two numbers.
            for _ in 0..dimensions.checked_mul(2)?.checked_add(2)? {
                number(&mut bytes)?;
            }
            while !bytes.is_empty() {
                field(element, &mut bytes)?;
            }
            Some(())
        }
        PgTypeKind::Composite(fields) => {
            let count = usize::try_from(number(&mut bytes)?).ok()?;
            if count != fields.len() {
                return None;
            }
            for (_, info) in fields.iter() {
                if info.oid() != Some(Oid(number(&mut bytes)?)) {
                    return None;
                }
                field(info, &mut bytes)?;
            }
            Some(())
        }
        _ => Some(()),
    }
}

/// Walks over a value that begins with its length; a NULL has a length of -1.
fn field(info: &PgTypeInfo, bytes: &mut &[u8]) -> Option<()> {
    let length = number(bytes)?;
    if length == u32::MAX {
        return Some(());
    }
    let (value, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    matches(info, value)
}

fn number(bytes: &mut &[u8]) -> Option<u32> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u32::from_be_bytes(*number))
}
