//! The README's table of settings says what the settings do, and names all of them.

use millpond::{Loader, Settings};
use std::collections::BTreeMap;

const README: &str = include_str!("../../../../README.md");

/// One row: its default and its range, as they are written.
type Table = BTreeMap<String, (String, String)>;

fn table() -> Table {
    let rows = README.lines().skip_while(|line| !line.starts_with("| setting |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            (cells[0].trim_matches('`').to_owned(), (cells[1].to_owned(), cells[2].trim_matches('|').trim().to_owned()))
        })
        .collect()
}

fn loader() -> Loader {
    Settings::loader().no_file().no_environment()
}

fn takes(setting: &str, value: &str) -> bool {
    loader().set(format!("db.{setting}"), value).load().is_ok()
}

#[test]
fn the_table_names_every_setting_of_a_pool_and_no_other() {
    let settings = loader().load().unwrap();
    let known: Vec<_> = settings.explain().rows.iter().filter_map(|row| row.setting.strip_prefix("db.")).collect();
    let mut told: Vec<_> = table().into_keys().collect();
    told.sort_by_key(|name| known.iter().position(|known| known == name));
    assert_eq!(told, known);
}

#[test]
fn the_table_tells_the_defaults() {
    let settings = loader().load().unwrap();
    for (setting, (default, _)) in table() {
        assert_eq!(settings.explain().row(&format!("db.{setting}")).unwrap().value, default, "{setting}");
    }
}

#[test]
fn the_table_tells_the_ranges() {
    for (setting, (_, range)) in table() {
        for part in range.split(", ").filter(|part| !part.is_empty()) {
            // `read-write` is a word and `1-50` is not.
            match part.split_once('-').filter(|(low, _)| low.starts_with(|c: char| c.is_ascii_digit())) {
                None => assert!(takes(&setting, part), "{setting} = {part}"),
                Some((low, high)) => check_range(&setting, low, &high.replace("pool_size", "10")),
            }
        }
    }
}

/// The ends are taken, and what lies beyond them is not.
#[track_caller]
fn check_range(setting: &str, low: &str, high: &str) {
    assert!(takes(setting, low), "{setting} = {low}");
    assert!(takes(setting, high), "{setting} = {high}");
    let (number, unit) = split(high);
    assert!(!takes(setting, &format!("{}{unit}", number + 1)), "{setting} above {high}");
    match split(low) {
        (0, _) => {}
        (1, "ms") => assert!(!takes(setting, "0.0009s"), "{setting} below {low}"),
        (number, unit) => assert!(!takes(setting, &format!("{}{unit}", number - 1)), "{setting} below {low}"),
    }
}

fn split(value: &str) -> (u64, &str) {
    let unit = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    (value[..unit].parse().unwrap(), &value[unit..])
}

#[test]
fn the_crates_of_the_workspace_are_those_of_the_table() {
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
    let mut there: Vec<_> = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    let named = |line: &str| line.strip_prefix("| [")?.split(']').next().map(str::to_owned);
    let mut told: Vec<_> = README.lines().filter_map(named).collect();
    told.sort();
    assert_eq!(told, there);
}
