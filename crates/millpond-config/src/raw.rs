//! A value of a layer, before it is checked against its setting.

use std::fmt;

use crate::secret::{REDACTED, shown};

/// The forms of a value in a file, a variable or code.
#[derive(Clone, PartialEq)]
pub(crate) enum Raw {
    Unset,
    Flag(bool),
    Whole(i128),
    Decimal(f64),
    Text(String),
}

impl Raw {
    /// Returns the value as it was written, for a message about a setting that is not secret.
    pub(crate) fn shown(&self) -> String {
        match self {
            Raw::Unset => "unset".to_owned(),
            Raw::Flag(flag) => flag.to_string(),
            Raw::Whole(number) => number.to_string(),
            Raw::Decimal(number) => format!("{number:?}"),
            Raw::Text(text) if text.is_empty() || text.contains(char::is_whitespace) => {
                format!("\"{}\"", shown(text))
            }
            Raw::Text(text) => shown(text),
        }
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}
