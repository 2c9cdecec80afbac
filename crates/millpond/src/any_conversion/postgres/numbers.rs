//! Converts `numeric`, `uuid` and bit strings from PostgreSQL's binary form to its text form.

use super::{exactly, malformed, split};
use sqlx::error::BoxDynError;
use std::fmt::Write;

/// The base of a `numeric` digit, and how many decimal digits it has.
const BASE: i16 = 10_000;
const WIDTH: usize = 4;

/// Formats a `numeric`: the number of digits, the weight of the first digit, the sign, the number
/// of decimals shown; then the digits, most significant first. The weight is the number of digits
/// between the first digit and the decimal point; zero digits may be left out at both ends.
pub(super) fn numeric(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (count, rest) = split::<2>(bytes)?;
    let (weight, rest) = split::<2>(rest)?;
    let (sign, rest) = split::<2>(rest)?;
    let (scale, digits) = split::<2>(rest)?;
    let sign = match u16::from_be_bytes(sign) {
        0x0000 => "",
        0x4000 => "-",
        0xC000 => return Ok("NaN".to_owned()),
        0xD000 => return Ok("Infinity".to_owned()),
        0xF000 => return Ok("-Infinity".to_owned()),
        _ => return Err(malformed()),
    };
    let (weight, scale) =
        (i32::from(i16::from_be_bytes(weight)), usize::from(u16::from_be_bytes(scale)));
    let digits = digits_of(digits, usize::from(u16::from_be_bytes(count)))?;
    let digit =
        |at: i32| usize::try_from(at).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);

    let mut text = sign.to_owned();
    write!(text, "{}", if weight < 0 { 0 } else { digit(0) })?;
    for at in 1..=weight {
        write!(text, "{:04}", digit(at))?;
    }
    if scale > 0 {
        text.push('.');
        let mut decimals = String::with_capacity(scale.saturating_add(WIDTH));
        let mut at = weight.saturating_add(1);
        while decimals.len() < scale {
            write!(decimals, "{:04}", digit(at))?;
            at = at.saturating_add(1);
        }
        decimals.truncate(scale);
        text.push_str(&decimals);
    }
    Ok(text)
}

fn digits_of(bytes: &[u8], count: usize) -> Result<Vec<i16>, BoxDynError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let digits: Vec<i16> = pairs.iter().map(|pair| i16::from_be_bytes(*pair)).collect();
    let whole = rest.is_empty()
        && digits.len() == count
        && digits.iter().all(|digit| (0..BASE).contains(digit));
    if whole { Ok(digits) } else { Err(malformed()) }
}

pub(super) fn uuid(bytes: &[u8]) -> Result<String, BoxDynError> {
    let hex = format!("{:032x}", u128::from_be_bytes(exactly(bytes)?));
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

/// Formats a bit string: the number of bits, then the bits, most significant first in each byte.
pub(super) fn bits(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (count, bytes) = split::<4>(bytes)?;
    let count = usize::try_from(i32::from_be_bytes(count))?;
    let mut text = String::with_capacity(bytes.len().saturating_mul(8));
    for byte in bytes {
        write!(text, "{byte:08b}")?;
    }
    if count > text.len() {
        return Err(malformed());
    }
    text.truncate(count);
    Ok(text)
}
