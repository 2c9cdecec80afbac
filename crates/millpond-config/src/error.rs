//! The error of invalid settings: all problems of all layers.

use std::fmt;

use serde::Serialize;

use crate::secret::shown;

/// Invalid settings, with all their problems.
///
/// `Display` prints one problem per line, and so does `Debug`, which `main` uses for a returned
/// error. No problem contains a secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SettingsError {
    /// The problems: those of the file, of the environment, of code, then invalid values. Never
    /// empty.
    pub problems: Vec<SettingProblem>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SettingsError {}

/// A setting that was refused, and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SettingProblem {
    /// The setting as written in a file, with its section (`db.pool_size`); the variable, if it is
    /// unknown; or `settings file`, if the problem concerns the whole file.
    pub setting: String,
    /// The value as it was written. `None` for secrets, for unknown names and for files.
    pub value: Option<String>,
    /// Where the value came from: a file and line, a variable, a preset, or `code`.
    pub source: String,
    /// What is wrong, and what was expected.
    pub message: String,
    /// How to fix it.
    pub help: String,
}

/// A value that the code using it refuses: see [`Loader::load_with`].
///
/// [`Loader::load_with`]: crate::Loader::load_with
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The setting, by its section and name such as `storage.connection_string`.
    pub setting: &'static str,
    /// What is wrong; printed after the setting's name and source. Must not contain a password.
    pub message: String,
    /// How to fix it.
    pub help: String,
}

impl SettingProblem {
    pub(crate) fn new(
        setting: &str,
        source: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (setting, source) = (shown(setting), source.to_owned());
        Self { setting, value: None, source, message: message.into(), help: help.into() }
    }

    pub(crate) fn of_value(mut self, value: Option<String>) -> Self {
        self.value = value;
        self
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.setting)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        write!(f, " ({}) {}; {}", self.source, self.message, self.help)
    }
}
