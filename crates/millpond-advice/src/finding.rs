//! A finding: what is wrong or worth knowing, and what to do about it.

use std::fmt;

/// How much a [`Finding`] matters, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing has to be done.
    Note,
    /// Works now, and will probably cause trouble.
    Warning,
    /// Cannot work as it is.
    Error,
}

impl Severity {
    /// Returns the severity as a word: `note`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that was found, with the numbers in it, and what to do. Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: a setting such as `db.pool_size`, or a word such as `server`.
    pub about: String,
    /// What was found.
    pub message: String,
    /// What to do about it; empty if nothing has to be done.
    pub help: String,
}

impl Finding {
    /// Creates a finding.
    pub fn new(
        severity: Severity,
        about: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (about, message, help) = (about.into(), message.into(), help.into());
        Self { severity, about, message, help }
    }
}

/// One line: `warning: db.pool_size: message; help`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, about, message, help } = self;
        write!(f, "{severity}: {about}: {message}")?;
        if help.is_empty() { Ok(()) } else { write!(f, "; {help}") }
    }
}
