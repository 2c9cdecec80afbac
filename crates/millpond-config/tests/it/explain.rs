//! What `explain()` shows: each effective value and where it came from.

use crate::{bare, env, file};

#[test]
fn every_setting_has_a_row_with_its_value_and_source() {
    let path = file("preset = 'production'\n[db]\npool_timeout = '1500ms'\n");
    let secret = file("redis://:hunter2@h/1\n");
    let settings = bare()
        .file(&path)
        .environment([
            ("PSN_DB_POOL_RECYCLE", "off"),
            ("PSN_DB_CANCEL_ABANDONED", "no"),
            ("PSN_REDIS_URL_FILE", secret.to_str().unwrap()),
            ("PSN_STORAGE_CONNECTION_STRING", "postgresql://user:hunter2@localhost/dbname"),
        ])
        .set("db.reset", "session")
        .load()
        .unwrap();
    let explanation = settings.explain();
    assert_eq!(explanation.rows.len(), 33);
    for (setting, value, source) in [
        ("preset", "production", format!("`{}`, line 1", path.display())),
        (
            "storage.connection_string",
            "postgresql://user:***@localhost/dbname",
            "environment variable `PSN_STORAGE_CONNECTION_STRING`".into(),
        ),
        ("db.pool_size", "25", "preset `production`".into()),
        ("db.max_waiters", "off", "default".into()),
        ("db.min_idle", "auto", "default".into()),
        ("db.pool_timeout", "1500ms", format!("`{}`, line 3", path.display())),
        ("db.pool_recycle", "off", "environment variable `PSN_DB_POOL_RECYCLE`".into()),
        ("db.reset", "session", "code".into()),
        ("db.behind", "server", "default".into()),
        ("db.cancel_abandoned", "false", "environment variable `PSN_DB_CANCEL_ABANDONED`".into()),
        (
            "redis.url",
            "redis://:***@h/1",
            format!("file `{}`, named by environment variable `PSN_REDIS_URL_FILE`", secret.display()),
        ),
        ("cache.url", "unset", "default".into()),
    ] {
        let row = explanation.row(setting).unwrap();
        assert_eq!((row.value.as_str(), &row.source), (value, &source), "{setting}");
    }
}

#[test]
fn the_table_is_aligned() {
    let settings = env([("PSN_STORAGE_CONNECTION_STRING", "mysql://ü:p@höst/db")]).load().unwrap();
    let table = settings.explain().to_string();
    let mut lines = table.lines();
    let head = lines.next().unwrap();
    let column = head.find("source").unwrap();
    assert!(head.starts_with("setting ") && head.contains(" value "), "{table}");
    for line in lines {
        let source: String = line.chars().skip(column).collect();
        assert!(source == "default" || source.starts_with("environment variable"), "{table}");
    }
}
