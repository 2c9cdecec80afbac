//! What a check of the settings found.

use crate::SettingValue;
use std::fmt;

/// One setting that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The name of the setting, as in [`PoolConfig`](crate::PoolConfig).
    pub setting: &'static str,
    /// What it was set to.
    pub value: String,
    /// What is allowed.
    pub expected: String,
    /// The setting that the limit comes from, if it is no fixed one.
    pub other: Option<&'static str>,
    /// What the user can do.
    pub help: &'static str,
}

impl Problem {
    pub(crate) fn new(
        setting: &'static str,
        value: SettingValue,
        expected: impl Into<String>,
        help: &'static str,
    ) -> Self {
        Self { setting, value: value.to_string(), expected: expected.into(), other: None, help }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} = {} is out of range {}; {}",
            self.setting, self.value, self.expected, self.help
        )
    }
}

/// Settings that a pool refuses to be built with: all of them, not the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    /// Every problem found, in the order of the settings.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
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

impl std::error::Error for ConfigError {}
