//! `millpond check --diff OLD` shows what an edit has changed; `--prefix` reads other variables.

use crate::run::{Ended, Sandbox};

#[test]
fn an_edit_is_shown_with_both_values_and_lines() {
    let sandbox = Sandbox::new();
    sandbox.write("old.toml", "[db]\npool_size = 20\n[cache]\nurl = \"redis://:hunter1@h\"\n");
    sandbox.write("millpond.toml", "[db]\n\npool_size = 30\n[cache]\nurl = \"redis://:hunter2@h\"");
    let ended = sandbox.run(&["check", "--diff", "old.toml"]);
    ended.assert_code(0);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(
        lines[0], "db.pool_size: 20 (`old.toml`, line 2) -> 30 (`millpond.toml`, line 3)",
        "{ended:?}"
    );
    assert!(lines[1].starts_with("cache.url: ") && lines[1].contains("not shown"), "{ended:?}");
    assert!(!ended.all().contains("hunter"), "{ended:?}");
    assert!(!ended.stdout.contains("db.max_overflow"), "{ended:?}");
    let json = sandbox.run(&["check", "--diff", "old.toml", "--json"]).json();
    assert_eq!(json["changes"][0]["old"]["value"], "20");
    assert_eq!(json["changes"][0]["new"]["value"], "30");
    assert_eq!(json["changes"][1]["hidden"], true);
}

#[test]
fn an_edit_that_a_variable_overrides_is_said_to_have_no_effect() {
    let sandbox = Sandbox::new();
    sandbox.write("old.toml", "[db]\npool_size = 20\n");
    sandbox.write("millpond.toml", "[db]\npool_size = 30\n");
    let mut command = sandbox.millpond(&["check", "--diff", "old.toml"]);
    let ended = Ended::from(command.env("PSN_DB_POOL_SIZE", "25").output().unwrap());
    ended.assert_code(0);
    assert!(ended.stdout.contains("No setting has another value than before."), "{ended:?}");
    assert!(
        ended.stdout.contains("no effect, environment variable `PSN_DB_POOL_SIZE` overrides it"),
        "{ended:?}"
    );
}

#[test]
fn an_older_file_that_is_invalid_or_missing_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("old.toml", "[db]\npool_size = 0\n");
    for old in ["old.toml", "nowhere.toml"] {
        let ended = sandbox.run(&["check", "--diff", old]);
        ended.assert_code(1);
        assert!(ended.stderr.contains(old), "{ended:?}");
    }
}

#[test]
fn other_variables_are_read_by_their_prefix() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.millpond(&["check", "--prefix", "APP_"]);
    command.env("APP_DB_POOL_SIZE", "7").env("PSN_DB_POOL_SIZE", "8");
    let ended = Ended::from(command.output().unwrap());
    ended.assert_code(0);
    assert!(
        ended.stdout.lines().any(|line| line.starts_with("db.pool_size")
            && line.contains(" 7 ")
            && line.contains("APP_DB_POOL_SIZE")),
        "{ended:?}"
    );
}
