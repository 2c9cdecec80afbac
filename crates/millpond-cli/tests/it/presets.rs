//! `millpond presets` lists the presets with their values.

use crate::run::Sandbox;

#[test]
fn every_preset_is_a_column_with_its_values() {
    let ended = Sandbox::new().run(&["presets"]);
    ended.assert_code(0);
    let lines: Vec<Vec<&str>> =
        ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let names = ["production", "development", "batch", "small", "medium", "large"];
    assert_eq!(lines[0][..2], ["setting", "default"]);
    assert_eq!(lines[0][2..], names);
    let size = lines.iter().find(|line| line.first() == Some(&"db.pool_size")).unwrap();
    assert_eq!(size[1..], ["10", "25", "5", "15", "10", "25", "50"]);
    let timeout = lines.iter().find(|line| line.first() == Some(&"db.pool_timeout")).unwrap();
    assert_eq!(timeout[4], "120s");
    assert!(ended.stdout.contains("PSN_PRESET=production"), "{ended:?}");
}

#[test]
fn the_presets_are_printed_as_json() {
    let json = Sandbox::new().run(&["presets", "--json"]).json();
    assert_eq!(json["presets"]["large"]["db.max_overflow"], "100");
    assert_eq!(json["presets"]["large"].get("db.pool_recycle"), None);
}
