//! Tests that the tables of docs/settings.md match the settings.

use std::env;
use std::fs;

use crate::Settings;
use crate::schema::{Form, SETTINGS, Setting};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");

/// The beginning of a table on the page, after the name of its section, and its end.
const BEGIN: &str = "| setting | default | range | what it does |\n|---|---|---|---|\n";
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
    if env::var_os("MILLPOND_WRITE_DOCS").is_some() {
        fs::write(PAGE, &expected).unwrap();
    } else if page != expected {
        panic!("docs/settings.md is out of date: run it with MILLPOND_WRITE_DOCS=1");
    }
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
