//! Converts dates and times from MySQL's binary form to its text form; values that arrive as text
//! are left unchanged.
//!
//! The binary form begins with its length, which is less than 13. A text begins with a digit or a
//! sign, whose byte is larger.

use sqlx::error::BoxDynError;
use std::str;

/// Greater than the length of any binary form, and less than any digit or sign.
const LENGTH_END: u8 = 13;

/// Formats a date: year in two bytes, month, day.
pub(super) fn date(bytes: &[u8]) -> Result<String, BoxDynError> {
    let [year, century, month, day, ..] = match binary(bytes)? {
        Form::Text(text) => return Ok(text),
        Form::Binary(parts) => parts,
    };
    Ok(format!("{:04}-{month:02}-{day:02}", u16::from_le_bytes([year, century])))
}

/// Formats a timestamp: a date, then hour, minute, second, and microseconds in four bytes. Trailing
/// parts that are zero may be left out.
pub(super) fn timestamp(bytes: &[u8]) -> Result<String, BoxDynError> {
    let parts = match binary(bytes)? {
        Form::Text(text) => return Ok(text),
        Form::Binary(parts) => parts,
    };
    let [year, century, month, day, hour, minute, second, a, b, c, d, _] = parts;
    let year = u16::from_le_bytes([year, century]);
    let decimals = decimals(u32::from_le_bytes([a, b, c, d]));
    Ok(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{decimals}"))
}

/// Formats a time: a sign, days in four bytes, hour, minute, second, microseconds in four bytes.
pub(super) fn time(bytes: &[u8]) -> Result<String, BoxDynError> {
    let parts = match binary(bytes)? {
        Form::Text(text) => return Ok(text),
        Form::Binary(parts) => parts,
    };
    let [negative, e, f, g, h, hour, minute, second, a, b, c, d] = parts;
    let hours = u64::from(u32::from_le_bytes([e, f, g, h])) * 24 + u64::from(hour);
    let sign = if negative == 1 { "-" } else { "" };
    Ok(format!(
        "{sign}{hours:02}:{minute:02}:{second:02}{}",
        decimals(u32::from_le_bytes([a, b, c, d]))
    ))
}

/// A value in one of its two forms.
enum Form {
    Text(String),
    /// The parts of the binary form, with zeros for those that were left out.
    Binary([u8; 12]),
}

fn binary(bytes: &[u8]) -> Result<Form, BoxDynError> {
    let malformed = || BoxDynError::from("the server sent a date or time of an unknown form");
    match bytes.split_first() {
        Some((length, parts)) if *length < LENGTH_END => {
            let mut all = [0; 12];
            all.get_mut(..parts.len()).ok_or_else(malformed)?.copy_from_slice(parts);
            Ok(Form::Binary(all))
        }
        Some(_) => Ok(Form::Text(trimmed(str::from_utf8(bytes)?).to_owned())),
        None => Err(malformed()),
    }
}

/// Removes trailing zeros from the decimals: the binary form does not say how many a column has.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn decimals(micros: u32) -> String {
    if micros == 0 { String::new() } else { trimmed(&format!(".{micros:06}")).to_owned() }
}
