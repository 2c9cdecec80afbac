//! The problems that a check of the settings found.

use crate::SettingValue;
use std::fmt;

/// One setting that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The name of the setting, as in [`PoolConfig`](crate::PoolConfig).
    pub setting: &'static str,
    /// The value of the setting.
    pub value: String,
    /// The allowed values.
    pub expected: String,
    /// The setting that determines the limit, if the limit is not fixed.
    pub other: Option<&'static str>,
    /// How to fix it.
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

/// The error of settings that a pool cannot be built with; contains all problems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    /// Returns all problems, in the order of the settings.
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
