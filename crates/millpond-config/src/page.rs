//! Tests that the tables of docs/settings.md match the settings.

use std::env;
use std::fs;

use crate::Settings;
use crate::presets::presets;
use crate::raw::Raw;
use crate::schema::{Form, SETTINGS, Setting};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");

/// The beginning of a table on the page, after the name of its section, and its end.
const BEGIN: &str = "| setting | default | range | what it does |\n|---|---|---|---|\n";
const PRESETS_BEGIN: &str = "An empty cell leaves the default:\n\n";
const END: &str = "\n\n";

#[test]
fn the_page_of_settings_has_every_setting_with_its_default_its_range_and_its_documentation() {
    let page = fs::read_to_string(PAGE).unwrap();
    let mut expected = page.clone();
    for section in ["db", "storage", "redis", "cache"] {
        let (_, rest) = expected.split_once(&format!("`[{section}]`\n\n{BEGIN}")).unwrap();
        let (table, _) = rest.split_once(END).unwrap();
        let rows = SETTINGS.iter().filter(|setting| setting.section() == section);
        let rows: Vec<_> = rows.map(row).collect();
        expected = expected.replace(table, &rows.join("\n"));
    }
    let (_, rest) = expected.split_once(PRESETS_BEGIN).unwrap();
    let (table, _) = rest.split_once(END).unwrap();
    expected = expected.replace(table, &presets_table());
    if env::var_os("MILLPOND_WRITE_DOCS").is_some() {
        fs::write(PAGE, &expected).unwrap();
    } else if page != expected {
        panic!("docs/settings.md is out of date: run it with MILLPOND_WRITE_DOCS=1");
    }
}

/// The lines of the table of presets below its title.
fn presets_table() -> String {
    let names = presets().iter().map(|preset| format!(" `{}` |", preset.name));
    let head = format!("| setting | default |{}", names.collect::<String>());
    let rule = format!("|---|---|{}", "---|".repeat(presets().len()));
    let is_set = |setting: &&Setting| {
        presets().iter().any(|preset| preset.values.iter().any(|(path, _)| *path == setting.path))
    };
    let rows = SETTINGS.iter().filter(is_set).map(|setting| {
        let default = setting.shown(&mut Settings::default());
        let cells = presets().iter().map(|preset| {
            let value = preset.values.iter().find(|(path, _)| *path == setting.path);
            format!(" {} |", value.map_or_else(String::new, |(_, value)| shown(setting, value)))
        });
        format!("| `{}` | {default} |{}", setting.path, cells.collect::<String>())
    });
    [head, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// Returns the value of a preset in the form of the explanation.
fn shown(setting: &Setting, value: &str) -> String {
    let mut settings = Settings::default();
    setting.assign(&Raw::Text(value.to_owned()), &mut settings).unwrap();
    setting.shown(&mut settings)
}

fn row(setting: &Setting) -> String {
    let mut defaults = Settings::default();
    let range = match &setting.form {
        Form::Secret(_) => "a URL".to_owned(),
        Form::Pool(of_pool) => {
            let range = of_pool
                .spell_range(&defaults.db.pool)
                .map(|range| range.replace("0-10 (pool_size)", "0-pool_size"));
            let words =
                range.into_iter().chain(of_pool.unset.map(str::to_owned)).collect::<Vec<_>>();
            if words.is_empty() { "true, false".to_owned() } else { words.join(", ") }
        }
        Form::CancelAbandoned => "true, false".to_owned(),
        Form::Redis(_) => setting.range(&defaults).unwrap(),
        Form::Tcp(_) => format!("{}, off", setting.range(&defaults).unwrap()),
        _ => setting.words().join(", "),
    };
    let (name, default) = (setting.name(), setting.shown(&mut defaults));
    let docs = setting.docs.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("| `{name}` | {default} | {range} | {docs} |")
}
