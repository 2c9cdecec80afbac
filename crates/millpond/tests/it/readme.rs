//! The docs are true: the table of settings, the table of crates, the length of the README.

use millpond::{Loader, Settings};
use std::collections::BTreeMap;

const README: &str = include_str!("../../../../README.md");
const SETTINGS: &str = include_str!("../../../../docs/settings.md");
const ARCHITECTURE: &str = include_str!("../../../../docs/architecture.md");

/// A setting's default and range, as the table shows them, by the setting's name.
type Table = BTreeMap<String, (String, String)>;

fn table() -> Table {
    let rows = SETTINGS.lines().skip_while(|line| !line.starts_with("| setting |")).skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            (
                cells[0].trim_matches('`').to_owned(),
                (cells[1].to_owned(), cells[2].trim_matches('|').trim().to_owned()),
            )
        })
        .collect()
}

fn loader() -> Loader {
    Settings::loader().no_file().no_environment()
}

fn takes(setting: &str, value: &str) -> bool {
    // Without an overflow, `overflow_after` need not be shorter than `pool_timeout`.
    loader().set("db.max_overflow", 0).set(format!("db.{setting}"), value).load().is_ok()
}

#[test]
fn the_table_names_every_setting_of_a_pool_and_no_other() {
    let settings = loader().load().unwrap();
    let known: Vec<_> =
        settings.explain().rows.iter().filter_map(|row| row.setting.strip_prefix("db.")).collect();
    let mut listed: Vec<_> = table().into_keys().collect();
    listed.sort_by_key(|name| known.iter().position(|known| known == name));
    assert_eq!(listed, known);
}

#[test]
fn the_table_shows_the_defaults() {
    let settings = loader().load().unwrap();
    for (setting, (default, _)) in table() {
        assert_eq!(
            settings.explain().row(&format!("db.{setting}")).unwrap().value,
            default,
            "{setting}"
        );
    }
}

#[test]
fn the_table_shows_the_ranges() {
    for (setting, (_, range)) in table() {
        for part in range.split(", ").filter(|part| !part.is_empty()) {
            // `read-write` is a word and `1-50` is not.
            let ends = part.split_once(" to ").or_else(|| part.split_once('-'));
            match ends.filter(|(low, _)| low.starts_with(|c: char| c.is_ascii_digit())) {
                None => assert!(takes(&setting, part), "{setting} = {part}"),
                Some((low, high)) => check_range(&setting, low, &high.replace("pool_size", "10")),
            }
        }
    }
}

/// Asserts that both ends of a range are accepted, and the values beyond them refused.
#[track_caller]
fn check_range(setting: &str, low: &str, high: &str) {
    assert!(takes(setting, low), "{setting} = {low}");
    assert!(takes(setting, high), "{setting} = {high}");
    let (number, unit) = split(high);
    assert!(!takes(setting, &format!("{}{unit}", number + 1)), "{setting} above {high}");
    match split(low) {
        (0, _) => {}
        // 0 may be a way to write `off`.
        (1, "s") => assert!(!takes(setting, "0.9s"), "{setting} below {low}"),
        (1, "ms") => assert!(!takes(setting, "0.0009s"), "{setting} below {low}"),
        (number, unit) => {
            assert!(!takes(setting, &format!("{}{unit}", number - 1)), "{setting} below {low}")
        }
    }
}

fn split(value: &str) -> (u64, &str) {
    let unit = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    (value[..unit].parse().unwrap(), &value[unit..])
}

#[test]
fn the_crates_of_the_workspace_are_those_of_the_table() {
    let folders = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
    let mut there: Vec<_> =
        folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    let named = |line: &str| line.strip_prefix("| `")?.split('`').next().map(str::to_owned);
    let table = ARCHITECTURE
        .lines()
        .skip_while(|line| *line != "## Crates")
        .skip(1)
        .take_while(|line| !line.starts_with("##"));
    let mut listed: Vec<_> =
        table.filter_map(named).filter(|name| name.starts_with("millpond")).collect();
    listed.sort();
    assert_eq!(listed, there);
}

#[test]
fn the_readme_is_read_in_a_few_minutes() {
    assert!(
        README.lines().count() <= 150,
        "{} lines; move something to a page of its own",
        README.lines().count()
    );
}
