//! The explanation of settings: each effective value and its source.

use std::fmt;

use serde::Serialize;

use crate::error::SettingProblem;

/// Each effective value and its source, in the order of the table of settings.
///
/// `Display` prints an aligned table and a line for each warning, for a log at start-up or a
/// `check` command. It contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// One row per setting.
    pub rows: Vec<Row>,
    /// Settings that have no effect, or less than they say, beside others: see
    /// [`PoolConfig::conflicts`](millpond_settings::PoolConfig::conflicts).
    pub warnings: Vec<SettingProblem>,
}

/// A setting with its value and its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The setting with its section, such as `db.pool_size`.
    pub setting: &'static str,
    /// The effective value. Secrets are `***`; URLs have no password and no query.
    pub value: String,
    /// Where the value came from: `default`, a preset, a file with its line, a variable, or `code`.
    pub source: String,
}

impl Explanation {
    /// Returns the row of a setting such as `db.pool_size`.
    pub fn row(&self, setting: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.setting == setting)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = |column: fn(&Row) -> &str, title: &str| {
            self.rows
                .iter()
                .map(|row| column(row).chars().count())
                .chain([title.len()])
                .max()
                .unwrap_or(0)
        };
        let (names, values) = (wide(|row| row.setting, "setting"), wide(|row| &row.value, "value"));
        write!(f, "{:names$}  {:values$}  source", "setting", "value")?;
        for row in &self.rows {
            write!(f, "\n{:names$}  {:values$}  {}", row.setting, row.value, row.source)?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}
