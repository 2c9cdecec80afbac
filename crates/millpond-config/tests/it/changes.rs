//! What an edit of the settings has changed.

use crate::{bare, toml};

#[test]
fn a_change_has_both_values_with_their_sources() {
    let old = toml("[db]\npool_size = 20\nmax_overflow = 40\n").load().unwrap();
    let new = toml("[db]\nmax_overflow = 40\npool_size = 30\n").load().unwrap();
    let changes = new.changes_since(&old);
    assert_eq!(changes.len(), 1, "{changes:?}");
    let line = changes[0].to_string();
    assert!(
        line.starts_with("db.pool_size: 20 (`") && line.contains(", line 2) -> 30 (`"),
        "{line}"
    );
    assert!(line.ends_with(", line 3)"), "{line}");
}

#[test]
fn the_same_value_from_another_source_is_no_change() {
    let old = bare().load().unwrap();
    let new = toml("[db]\npool_size = 10\npool_timeout = '30s'\n").load().unwrap();
    assert_eq!(new.changes_since(&old), []);
}

#[test]
fn a_changed_password_is_a_change_and_is_not_shown() {
    let url = |password: &str| {
        let url = format!("postgresql://user:{password}@localhost/db?password={password}");
        bare().set("storage.connection_string", url).load().unwrap()
    };
    let changes = url("hunter2").changes_since(&url("hunter1"));
    assert_eq!(changes.len(), 1);
    assert!(changes[0].hidden);
    let line = changes[0].to_string();
    assert!(line.contains("storage.connection_string") && line.contains("not shown"), "{line}");
    assert!(!format!("{line}{changes:?}").contains("hunter"), "{line}");
    assert_eq!(url("hunter1").changes_since(&url("hunter1")), []);
}

#[test]
fn a_field_that_the_program_has_changed_is_a_change() {
    let old = bare().load().unwrap();
    let mut new = old.clone();
    new.db.pool.pool_size = 11;
    assert_eq!(new.changes_since(&old)[0].new.value, "11");
}
