//! Parses and prints values: the same syntax of numbers, durations, flags and words in files,
//! variables and code.
//!
//! Every parser returns `None` for a malformed value: nothing is rounded, cut or guessed. A printed
//! value parses back unchanged.

use std::time::Duration;

use millpond_settings::{Limits, PoolKind, Pooler, ResetLevel};

use crate::raw::Raw;

/// The values of `db.reset`.
pub(crate) const RESETS: [(&str, ResetLevel); 4] = [
    ("none", ResetLevel::None),
    ("transaction", ResetLevel::Transaction),
    ("session", ResetLevel::Session),
    ("replace", ResetLevel::Replace),
];

/// The values of `db.pool`.
pub(crate) const KINDS: [(&str, PoolKind); 3] =
    [("null", PoolKind::Null), ("queue", PoolKind::Queue), ("read-write", PoolKind::ReadWrite)];

/// The values of `db.behind`.
pub(crate) const POOLERS: [(&str, Pooler); 3] = [
    ("server", Pooler::Direct),
    ("unchecked", Pooler::Unchecked),
    ("pgbouncer", Pooler::PgBouncer),
];

/// Parses a non-negative integer in digits.
pub(crate) fn read_count(raw: &Raw) -> Option<u32> {
    match raw {
        Raw::Whole(number) => u32::try_from(*number).ok(),
        Raw::Text(text) => digits(text.trim())?.parse().ok(),
        Raw::Unset | Raw::Flag(_) | Raw::Decimal(_) => None,
    }
}

/// Parses a duration: seconds as a number, or a text with a unit (`ms`, `s`, `m`, `h`).
pub(crate) fn read_time(raw: &Raw) -> Option<Duration> {
    match raw {
        Raw::Whole(seconds) => Some(Duration::from_secs(u64::try_from(*seconds).ok()?)),
        Raw::Decimal(seconds) => Duration::try_from_secs_f64(*seconds).ok(),
        Raw::Text(text) => read_time_text(text.trim()),
        Raw::Unset | Raw::Flag(_) => None,
    }
}

/// Parses a duration as the settings do: `60`, `0.5`, `500ms`, `60s`, `2m`, `1h`; a number without
/// a unit is in seconds. Returns `None` for anything else.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(millpond_config::parse_time("0.5"), Some(Duration::from_millis(500)));
/// assert_eq!(millpond_config::parse_time("soon"), None);
/// ```
pub fn parse_time(text: &str) -> Option<Duration> {
    read_time_text(text.trim())
}

/// Parses `true`, `yes`, `on`, `1` or one of their opposites, in any case.
pub(crate) fn read_flag(raw: &Raw) -> Option<bool> {
    match raw {
        Raw::Flag(flag) => Some(*flag),
        Raw::Whole(0) => Some(false),
        Raw::Whole(1) => Some(true),
        Raw::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some(true),
            "false" | "no" | "off" | "0" => Some(false),
            _ => None,
        },
        Raw::Unset | Raw::Whole(_) | Raw::Decimal(_) => None,
    }
}

/// Parses one of `words`, in any case.
pub(crate) fn read_word<T: Copy>(raw: &Raw, words: &[(&str, T)]) -> Option<T> {
    words.iter().find(|(word, _)| is_word(raw, word)).map(|(_, meaning)| *meaning)
}

/// Returns true if `raw` is this word, in any case.
pub(crate) fn is_word(raw: &Raw, word: &str) -> bool {
    matches!(raw, Raw::Text(text) if text.trim().eq_ignore_ascii_case(word))
}

pub(crate) fn format_time(time: Duration) -> String {
    const MS: u32 = 1_000_000;
    match time.subsec_nanos() {
        0 => format!("{}s", time.as_secs()),
        nanos if nanos % MS == 0 => format!("{}ms", time.as_millis()),
        nanos => format!("{}.{}s", time.as_secs(), format!("{nanos:09}").trim_end_matches('0')),
    }
}

pub(crate) fn format_limits(limits: Limits) -> &'static str {
    match limits {
        Limits::On => "on",
        Limits::Off => "off",
    }
}

pub(crate) fn format_reset(reset: ResetLevel) -> &'static str {
    word_of(&RESETS, reset)
}

pub(crate) fn format_kind(kind: PoolKind) -> &'static str {
    word_of(&KINDS, kind)
}

pub(crate) fn format_pooler(pooler: Pooler) -> &'static str {
    word_of(&POOLERS, pooler)
}

fn word_of<T: PartialEq + Copy>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, it)| *it == meaning).map_or("", |(word, _)| word)
}

/// Parses a duration exactly, without floating point: `0.1s` is exactly 100 ms.
fn read_time_text(text: &str) -> Option<Duration> {
    const NANOS: [(&str, u128); 4] =
        [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];
    let unit = NANOS.iter().find_map(|(unit, nanos)| Some((text.strip_suffix(unit)?, *nanos)));
    let (number, unit) = unit.unwrap_or((text, 1_000_000_000));
    let number = number.trim_end();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let (whole, fraction) = (digits(whole)?, digits(fraction)?);
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction = fraction.parse::<u128>().ok()?.checked_mul(unit)?;
    if fraction % scale != 0 {
        // Finer than a nanosecond.
        return None;
    }
    let nanos = whole.parse::<u128>().ok()?.checked_mul(unit)?.checked_add(fraction / scale)?;
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, u32::try_from(nanos % 1_000_000_000).ok()?))
}

/// Returns `text` if it consists of digits: `parse` alone would also accept a sign.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        for (written, millis) in [
            ("60", 60_000),
            ("0.5", 500),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1.5 h", 5_400_000),
            (" 3s ", 3_000),
        ] {
            assert_eq!(read_time(&text(written)), Some(Duration::from_millis(millis)), "{written}");
        }
        assert_eq!(read_time(&Raw::Whole(60)), Some(Duration::from_secs(60)));
        assert_eq!(read_time(&Raw::Decimal(0.25)), Some(Duration::from_millis(250)));
        assert_eq!(read_time(&text("0.1")), Some(Duration::from_millis(100)));
    }

    #[test]
    fn a_malformed_duration_is_refused() {
        for written in [
            "",
            "ten",
            "-1",
            "+1",
            "1e3",
            "NaN",
            "inf",
            "1.",
            ".5",
            "1..2",
            "1d",
            "s",
            "ms",
            "1 2",
            "٣",
            "0x10",
            "0.1234567890123456",
        ] {
            assert_eq!(read_time(&text(written)), None, "{written}");
        }
        assert_eq!(read_time(&text(&"9".repeat(40))), None);
        assert_eq!(read_time(&text("18446744073709551616")), None);
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e30, f64::MAX] {
            assert_eq!(read_time(&Raw::Decimal(number)), None, "{number}");
        }
        for number in [-1, i128::MAX, i128::MIN] {
            assert_eq!(read_time(&Raw::Whole(number)), None, "{number}");
        }
        assert_eq!(read_time(&Raw::Flag(true)), None);
    }

    #[test]
    fn a_spelt_time_reads_back_unchanged() {
        let times = [
            Duration::ZERO,
            Duration::MAX,
            Duration::from_nanos(1),
            Duration::from_millis(1500),
            Duration::new(7, 120),
        ];
        for time in times {
            assert_eq!(read_time(&text(&format_time(time))), Some(time), "{}", format_time(time));
        }
        assert_eq!(format_time(Duration::from_millis(500)), "500ms");
        assert_eq!(format_time(Duration::from_secs(3600)), "3600s");
    }

    #[test]
    fn a_count_is_digits_and_nothing_else() {
        assert_eq!(read_count(&text(" 20 ")), Some(20));
        for written in ["", "ten", "-1", "+1", "1.0", "1e3", "1_000", "0x10", "4294967296"] {
            assert_eq!(read_count(&text(written)), None, "{written}");
        }
        assert_eq!(read_count(&Raw::Decimal(10.0)), None);
        assert_eq!(read_count(&Raw::Whole(1 << 32)), None);
    }

    #[test]
    fn a_flag_may_be_written_in_eight_words_of_any_case() {
        for yes in ["true", "YES", "On", "1"] {
            assert_eq!(read_flag(&text(yes)), Some(true), "{yes}");
        }
        for no in ["False", "no", "OFF", "0"] {
            assert_eq!(read_flag(&text(no)), Some(false), "{no}");
        }
        for neither in ["", "2", "y", "t", "maybe"] {
            assert_eq!(read_flag(&text(neither)), None, "{neither}");
        }
        assert_eq!((read_flag(&Raw::Whole(1)), read_flag(&Raw::Whole(2))), (Some(true), None));
    }

    #[test]
    fn every_word_reads_back_as_what_it_spells() {
        for (word, reset) in RESETS {
            assert_eq!(read_word(&text(format_reset(reset)), &RESETS), Some(reset));
            assert_eq!(format_reset(reset), word);
        }
        for (word, kind) in KINDS {
            assert_eq!(read_word(&text(&word.to_uppercase()), &KINDS), Some(kind));
            assert_eq!(format_kind(kind), word);
        }
        for (word, pooler) in POOLERS {
            assert_eq!(read_word(&text(&word.to_uppercase()), &POOLERS), Some(pooler));
            assert_eq!(format_pooler(pooler), word);
        }
    }
}
