//! What is wrong with the settings: every problem of every layer in one error.

use std::fmt;

use serde::Serialize;

use crate::secret::shown;

/// Settings that cannot be used: all that is wrong with them, not the first thing found.
///
/// `Display` is one problem a line, and so is `Debug`, which is what `main` prints of an error that
/// it returns. No problem holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SettingsError {
    /// The problems: those of the file, of the environment, of code, then values that cannot be
    /// used. Never empty.
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

/// One setting that was refused, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SettingProblem {
    /// The setting as written in a file, with its section (`db.pool_size`); the variable, if it is
    /// not one that we know; or `settings file`, if the file as a whole is at fault.
    pub setting: String,
    /// What it was set to, as it was written. `None` for secrets, for unknown names and for files.
    pub value: Option<String>,
    /// Where the value came from: which file and line, which variable, which preset, or `code`.
    pub source: String,
    /// What is wrong, and what was expected instead.
    pub message: String,
    /// What the user can do.
    pub help: String,
}

/// Why a value cannot be used, as the code that would use it says: see [`Loader::load_with`].
///
/// [`Loader::load_with`]: crate::Loader::load_with
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The setting, by its section and name such as `storage.connection_string`.
    pub setting: &'static str,
    /// What is wrong, as it follows on the setting's name and source. It must not repeat a
    /// password.
    pub message: String,
    /// What the user can do.
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
