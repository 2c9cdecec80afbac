//! Checks a value for a pragma; the error says what is expected.

use crate::pragma_table::{Kind, PRAGMAS, Pragma, find, nearest};
use std::fmt;
use std::time::Duration;

/// A value for a pragma, as the caller wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PragmaValue {
    /// On or off.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A word, or a number or flag as text.
    Word(String),
}

impl From<bool> for PragmaValue {
    fn from(on: bool) -> Self {
        Self::Flag(on)
    }
}

impl From<i64> for PragmaValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for PragmaValue {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u32> for PragmaValue {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Duration> for PragmaValue {
    /// Converts to whole milliseconds.
    fn from(time: Duration) -> Self {
        Self::Number(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
    }
}

impl From<&str> for PragmaValue {
    fn from(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

impl From<String> for PragmaValue {
    fn from(word: String) -> Self {
        Self::Word(word)
    }
}

impl fmt::Display for PragmaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(on) => on.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Word(word) => write!(f, "{word:?}"),
        }
    }
}

/// A pragma with a checked value; it contains no text from the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) pragma: &'static Pragma,
    /// A number, or the index of a word in the pragma's list, or 0 or 1.
    number: i64,
}

impl Setting {
    /// Checks a name and a value.
    pub(crate) fn new(name: &str, value: &PragmaValue) -> Result<Self, PragmaError> {
        let pragma = find(name).ok_or_else(|| PragmaError::Unknown { name: name.to_owned() })?;
        let number = match &pragma.kind {
            Kind::Flag => as_flag(value).map(i64::from),
            Kind::Number(low, high) => {
                as_number(value).filter(|number| (*low..=*high).contains(number))
            }
            Kind::Word(words) => as_index(value, words),
        };
        let number = number.ok_or_else(|| PragmaError::Value {
            name: pragma.name,
            value: value.to_string(),
            expected: expected(pragma),
        })?;
        Ok(Self { pragma, number })
    }

    /// Returns the value as SQL.
    pub(crate) fn sql(&self) -> String {
        match &self.pragma.kind {
            Kind::Word(words) => self.word(words).to_owned(),
            Kind::Flag | Kind::Number(..) => self.number.to_string(),
        }
    }

    /// Returns true if SQLite's answer is this value; SQLite returns some words as numbers.
    pub(crate) fn is(&self, answer: &str) -> bool {
        match &self.pragma.kind {
            Kind::Word(words) => {
                answer.eq_ignore_ascii_case(self.word(words)) || answer == self.number.to_string()
            }
            Kind::Flag | Kind::Number(..) => answer == self.number.to_string(),
        }
    }

    fn word(&self, words: &'static [&'static str]) -> &'static str {
        usize::try_from(self.number)
            .ok()
            .and_then(|index| words.get(index))
            .copied()
            .unwrap_or_default()
    }
}

fn as_flag(value: &PragmaValue) -> Option<bool> {
    match value {
        PragmaValue::Flag(on) => Some(*on),
        PragmaValue::Number(0) => Some(false),
        PragmaValue::Number(1) => Some(true),
        PragmaValue::Number(_) => None,
        PragmaValue::Word(word) => match word.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Some(true),
            "off" | "false" | "no" | "0" => Some(false),
            _ => None,
        },
    }
}

fn as_number(value: &PragmaValue) -> Option<i64> {
    match value {
        PragmaValue::Flag(_) => None,
        PragmaValue::Number(number) => Some(*number),
        PragmaValue::Word(word) => word.parse().ok(),
    }
}

fn as_index(value: &PragmaValue, words: &[&str]) -> Option<i64> {
    let index = match value {
        PragmaValue::Flag(on) => position(words, if *on { "on" } else { "off" }),
        PragmaValue::Number(number) => {
            usize::try_from(*number).ok().filter(|index| *index < words.len())
        }
        PragmaValue::Word(word) => position(words, word),
    };
    index.and_then(|index| i64::try_from(index).ok())
}

fn position(words: &[&str], expected: &str) -> Option<usize> {
    words.iter().position(|word| word.eq_ignore_ascii_case(expected))
}

fn expected(pragma: &Pragma) -> String {
    match &pragma.kind {
        Kind::Flag => "on or off".to_owned(),
        Kind::Number(low, high) => format!("a number from {low} to {high}"),
        Kind::Word(words) => format!("one of {}", words.join(", ")),
    }
}

/// Why a pragma was refused, or was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PragmaError {
    /// No hook may set this pragma.
    Unknown {
        /// The name that was given.
        name: String,
    },
    /// The pragma does not accept this value.
    Value {
        /// The pragma.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// The values that the pragma accepts.
        expected: String,
    },
    /// SQLite accepted the value without an error and did not apply it: the build, the file or the
    /// current state does not allow it.
    NotApplied {
        /// The pragma.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// The value that SQLite reads back; `None` if this build or this database does not have
        /// the pragma.
        found: Option<String>,
    },
}

impl fmt::Display for PragmaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => {
                let known: Vec<_> = PRAGMAS.iter().map(|pragma| pragma.name).collect();
                write!(f, "{name:?} is not a pragma that can be set here")?;
                if let Some(meant) = nearest(name) {
                    write!(f, ": did you mean `{meant}`?")?;
                }
                write!(f, " (these are: {})", known.join(", "))
            }
            Self::Value { name, value, expected } => {
                write!(f, "pragma {name} cannot be {value}: it must be {expected}")
            }
            Self::NotApplied { name, value, found: Some(found) } => {
                write!(
                    f,
                    "pragma {name} was set to {value} but is still {found}: SQLite does not \
                     allow it here"
                )
            }
            Self::NotApplied { name, value, found: None } => {
                write!(
                    f,
                    "pragma {name} was set to {value} but SQLite has no such setting in this \
                     build, or for this database"
                )
            }
        }
    }
}

impl std::error::Error for PragmaError {}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_testkit::Garbler;

    fn sql(name: &str, value: impl Into<PragmaValue>) -> Result<String, String> {
        Setting::new(name, &value.into())
            .map(|setting| setting.sql())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_taken_as_flags_numbers_and_words() {
        assert_eq!(sql("foreign_keys", true).unwrap(), "1");
        assert_eq!(sql("foreign_keys", "OFF").unwrap(), "0");
        assert_eq!(sql("busy_timeout", Duration::from_secs(5)).unwrap(), "5000");
        assert_eq!(sql("cache_size", -20_000).unwrap(), "-20000");
        assert_eq!(sql("Journal_Mode", "WAL").unwrap(), "wal");
        assert_eq!(sql("synchronous", 1).unwrap(), "normal");
        assert_eq!(sql("secure_delete", true).unwrap(), "on");
    }

    #[test]
    fn no_text_of_the_caller_gets_into_the_sql() {
        for (name, value) in [
            ("journal_mode", "WAL; DROP TABLE t"),
            ("foreign_keys", "1; DROP TABLE t"),
            ("cache_size", "1; DROP TABLE t"),
            ("synchronous", "'normal'"),
            ("busy_timeout", "-1"),
        ] {
            let error = sql(name, value).unwrap_err();
            assert!(error.contains("it must be"), "{error}");
        }
        assert!(sql("foreign_keys = 1; DROP TABLE t", 1).is_err());
    }

    #[test]
    fn an_error_names_the_valid_values() {
        assert_eq!(
            sql("foreign_keys", 2).unwrap_err(),
            "pragma foreign_keys cannot be 2: it must be on or off"
        );
        assert!(
            sql("synchronous", "fast").unwrap_err().contains("one of off, normal, full, extra")
        );
        assert!(sql("busy_timeout", -1).unwrap_err().contains("a number from 0 to 2147483647"));
        assert!(sql("foreing_keys", true).unwrap_err().contains("did you mean `foreign_keys`?"));
    }

    #[test]
    fn an_answer_is_recognised_by_word_and_by_number() {
        let normal = Setting::new("synchronous", &"NORMAL".into()).unwrap();
        assert!(normal.is("1") && normal.is("normal") && !normal.is("2"));
        let on = Setting::new("foreign_keys", &true.into()).unwrap();
        assert!(on.is("1") && !on.is("0"));
    }

    #[test]
    fn only_words_and_numbers_of_the_table_get_into_the_sql() {
        let mut taken = 0;
        for seed in 0..20_000 {
            let line = Garbler::new(seed).line(include_str!("../tests/corpus/pragmas.txt"));
            let (name, value) = line.split_once('=').unwrap_or((&line, ""));
            let Ok(setting) = Setting::new(name.trim(), &value.trim().into()) else { continue };
            let sql = setting.sql();
            assert!(
                sql.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter)),
                "{line:?}: {sql}"
            );
            assert_eq!(
                Setting::new(setting.pragma.name, &sql.as_str().into()),
                Ok(setting),
                "{line:?}"
            );
            taken += 1;
        }
        assert!(taken > 1_000, "only {taken} were taken");
    }
}
