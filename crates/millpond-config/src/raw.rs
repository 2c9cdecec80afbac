//! A value as a layer holds it, before it is known whether it fits its setting.

use std::fmt;

use crate::secret::{REDACTED, shown};

/// The forms that a value may have in a file, a variable or code.
#[derive(Clone, PartialEq)]
pub(crate) enum Raw {
    Unset,
    Flag(bool),
    Whole(i128),
    Decimal(f64),
    Text(String),
}

impl Raw {
    /// The value as it was written, for a message about a setting that is no secret.
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
