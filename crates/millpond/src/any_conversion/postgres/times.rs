//! Converts dates, times and intervals from PostgreSQL's binary form to its text form in ISO style.
//! No leap seconds, no rounding.

use super::{exactly, split};
use sqlx::error::BoxDynError;
use std::fmt::Write;

/// Days from 1970-01-01 to PostgreSQL's epoch, 2000-01-01.
const EPOCH_DAYS: i64 = 10_957;
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Formats a date from days since 2000-01-01; the ends of the range mean infinity.
pub(super) fn date(bytes: &[u8]) -> Result<String, BoxDynError> {
    match i32::from_be_bytes(exactly(bytes)?) {
        i32::MAX => Ok("infinity".to_owned()),
        i32::MIN => Ok("-infinity".to_owned()),
        days => Ok(on_day(i64::from(days), "")),
    }
}

/// Formats a timestamp from microseconds since 2000-01-01 00:00; the ends of the range mean
/// infinity.
pub(super) fn timestamp(bytes: &[u8], zone: &str) -> Result<String, BoxDynError> {
    match i64::from_be_bytes(exactly(bytes)?) {
        i64::MAX => Ok("infinity".to_owned()),
        i64::MIN => Ok("-infinity".to_owned()),
        micros => {
            Ok(on_day(micros.div_euclid(DAY), &format!(" {}{zone}", clock(micros.rem_euclid(DAY)))))
        }
    }
}

/// Formats a time of day from microseconds since midnight.
pub(super) fn time(bytes: &[u8]) -> Result<String, BoxDynError> {
    Ok(clock(i64::from_be_bytes(exactly(bytes)?)))
}

/// Formats a time of day from microseconds since midnight and the zone's offset in seconds west of
/// Greenwich.
pub(super) fn time_with_zone(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (micros, west) = split::<8>(bytes)?;
    let west = i32::from_be_bytes(exactly(west)?);
    let (sign, seconds) = if west > 0 { ('-', west) } else { ('+', west.saturating_neg()) };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{}{sign}{hours:02}", clock(i64::from_be_bytes(micros)));
    if minutes != 0 || seconds != 0 {
        write!(text, ":{minutes:02}")?;
    }
    if seconds != 0 {
        write!(text, ":{seconds:02}")?;
    }
    Ok(text)
}

/// Formats an interval from microseconds, days and months, which do not convert into one another
/// and have separate signs.
pub(super) fn interval(bytes: &[u8]) -> Result<String, BoxDynError> {
    let (micros, rest) = split::<8>(bytes)?;
    let (days, months) = split::<4>(rest)?;
    let (micros, days) = (i64::from_be_bytes(micros), i32::from_be_bytes(days));
    let months = i32::from_be_bytes(exactly(months)?);
    match (micros, days, months) {
        // Since PostgreSQL 17.
        (i64::MAX, i32::MAX, i32::MAX) => return Ok("infinity".to_owned()),
        (i64::MIN, i32::MIN, i32::MIN) => return Ok("-infinity".to_owned()),
        _ => {}
    }
    let mut text = String::new();
    // After a negative part, a positive one gets a sign.
    let mut minus = false;
    for (count, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if count != 0 {
            let blank = if text.is_empty() { "" } else { " " };
            let plus = if minus && count > 0 { "+" } else { "" };
            let plural = if count == 1 { "" } else { "s" };
            write!(text, "{blank}{plus}{count} {unit}{plural}")?;
            minus = count < 0;
        }
    }
    if text.is_empty() || micros != 0 {
        let blank = if text.is_empty() { "" } else { " " };
        let sign = match (micros < 0, minus) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        write!(text, "{blank}{sign}{}", clock_of(micros.unsigned_abs()))?;
    }
    Ok(text)
}

/// Formats a day counted from 2000-01-01, followed by `then` and the era.
fn on_day(days: i64, then: &str) -> String {
    let (year, month, day) = civil(days.saturating_add(EPOCH_DAYS));
    // There is no year 0: the one before 1 is 1 BC.
    let (year, era) = if year > 0 { (year, "") } else { (1_i64.saturating_sub(year), " BC") };
    format!("{year:04}-{month:02}-{day:02}{then}{era}")
}

/// Returns year, month and day of the day that is this many days after 1970-01-01, in the proleptic
/// Gregorian calendar. The year is counted from March, so that the leap day is its last day:
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn civil(days: i64) -> (i64, i64, i64) {
    const CYCLE_DAYS: i64 = 146_097; // 400 years
    let days = days.saturating_add(719_468); // from 0000-03-01
    let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = cycle * 400 + year + i64::from(month <= 2);
    (year, month, day)
}

fn clock(micros: i64) -> String {
    clock_of(micros.unsigned_abs())
}

/// Formats hours (any number), minutes, seconds, and decimals without trailing zeros.
fn clock_of(micros: u64) -> String {
    let (seconds, micros) = (micros / SECOND.unsigned_abs(), micros % SECOND.unsigned_abs());
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if micros != 0 {
        text.push('.');
        text.push_str(format!("{micros:06}").trim_end_matches('0'));
    }
    text
}
