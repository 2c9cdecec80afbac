//! `millpond presets`: lists the presets with their values.

use crate::arguments::PresetsArguments;
use crate::table::Table;
use crate::terminal::{Screen, Tone};
use millpond::Settings;
use millpond::settings::{Explanation, presets};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::io::{self, Write};

/// Prints a table with one column for each preset.
pub fn run(arguments: &PresetsArguments) -> Result<bool, Box<dyn Error>> {
    let bare = || Settings::loader().no_file().no_environment();
    let defaults = bare().load()?.explain().clone();
    let mut columns = Vec::new();
    for preset in presets() {
        columns.push((preset.name, bare().preset(preset.name).load()?.explain().clone()));
    }
    match arguments.json {
        true => print_json(&columns)?,
        false => print(&defaults, &columns)?,
    }
    Ok(true)
}

fn print(defaults: &Explanation, columns: &[(&str, Explanation)]) -> io::Result<()> {
    let mut screen = Screen::for_people();
    let names = columns.iter().map(|(name, _)| *name);
    let mut table = Table::new(["setting", "default"].into_iter().chain(names));
    for row in &defaults.rows {
        let cells: Vec<_> = columns
            .iter()
            .map(|(_, preset)| set(preset, row.setting).unwrap_or_default())
            .collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            table.row([row.setting.to_owned(), row.value.clone()].into_iter().chain(cells));
        }
    }
    screen.line(Tone::Plain, &table.to_string())?;
    screen.line(
        Tone::Plain,
        "\nAn empty cell leaves the default. Choose one with preset = \"production\" at the top of \
         millpond.toml, or with PSN_PRESET=production; every other layer overrides its values.",
    )
}

fn print_json(columns: &[(&str, Explanation)]) -> io::Result<()> {
    let mut all = Map::new();
    for (name, preset) in columns {
        let set = preset.rows.iter().filter_map(|row| {
            Some((row.setting.to_owned(), Value::from(set(preset, row.setting)?)))
        });
        all.insert((*name).to_owned(), Value::Object(set.collect()));
    }
    writeln!(io::stdout(), "{}", json!({ "presets": all }))
}

/// Returns the value that a preset gives to a setting, if it does.
fn set(preset: &Explanation, setting: &str) -> Option<String> {
    let row = preset.row(setting).filter(|row| row.source.starts_with("preset "))?;
    Some(row.value.clone())
}
