//! What differs between two loads of the settings, such as before and after an edit.

use std::fmt;

use serde::Serialize;

use crate::Settings;
use crate::explain::Row;
use crate::layers::CODE;
use crate::schema::{Form, SETTINGS, Setting};

/// A setting that has another value than before. Contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The value before, with its source.
    pub old: Row,
    /// The value now, with its source.
    pub new: Row,
    /// True if only a part that is not shown differs, such as a password: then both values look the
    /// same.
    pub hidden: bool,
}

impl Settings {
    /// Returns every setting whose value differs from that in `older`, in the order of the
    /// explanation. A value that only comes from another source is not a change.
    ///
    /// ```
    /// use millpond_config::Loader;
    ///
    /// let loader = Loader::new().no_file().no_environment();
    /// let old = loader.clone().load()?;
    /// let new = loader.preset("production").load()?;
    /// let changes = new.changes_since(&old);
    /// assert_eq!(
    ///     changes[1].to_string(),
    ///     "db.pool_size: 10 (default) -> 25 (preset `production`)"
    /// );
    /// # Ok::<(), millpond_config::SettingsError>(())
    /// ```
    pub fn changes_since(&self, older: &Settings) -> Vec<Change> {
        SETTINGS.iter().filter_map(|setting| change(setting, older, self)).collect()
    }
}

fn change(setting: &'static Setting, old: &Settings, new: &Settings) -> Option<Change> {
    let (old_row, new_row) = (row(setting, old), row(setting, new));
    let hidden = old_row.value == new_row.value;
    let differs = !hidden || secret(setting, old) != secret(setting, new);
    differs.then_some(Change { old: old_row, new: new_row, hidden })
}

fn row(setting: &'static Setting, settings: &Settings) -> Row {
    let source = settings.explain().row(&setting.path).map(|row| row.source.clone());
    Row {
        setting: &setting.path,
        value: setting.shown(&mut settings.clone()),
        source: source.unwrap_or_else(|| CODE.to_owned()),
    }
}

/// Returns the content of a secret.
fn secret(setting: &Setting, settings: &Settings) -> Option<String> {
    let Form::Secret(field) = setting.form else { return None };
    field(&mut settings.clone()).as_ref().map(|secret| secret.expose().to_owned())
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { old, new, hidden } = self;
        let (before, after) = (&old.value, &new.value);
        write!(f, "{}: {before} ({}) -> {after} ({})", new.setting, old.source, new.source)?;
        if *hidden { f.write_str("; a part that is not shown differs") } else { Ok(()) }
    }
}
