//! The output of `explain()`: each effective value and its source.

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
    assert_eq!(explanation.rows.len(), 39);
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
            format!(
                "file `{}`, named by environment variable `PSN_REDIS_URL_FILE`",
                secret.display()
            ),
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

#[test]
fn conflicting_settings_are_warnings_with_both_sources() {
    let path = file("[db]\noverflow_linger = 5\nleak_after = '2m'\nmax_lease = '1m'\n");
    let settings = bare().file(&path).environment([("PSN_DB_MAX_OVERFLOW", "0")]).load().unwrap();
    let name = path.display();
    let warnings: Vec<_> = settings.explain().warnings.iter().map(ToString::to_string).collect();
    let expected = [
        format!(
            "db.overflow_linger = 5s (`{name}`, line 2) has no effect with db.max_overflow = 0 \
             (environment variable `PSN_DB_MAX_OVERFLOW`); raise max_overflow, or leave \
             overflow_linger out"
        ),
        format!(
            "db.leak_after = 120s (`{name}`, line 3) is not shorter than db.max_lease = 60s \
             (`{name}`, line 4); the holder is reported when max_lease has passed; lower leak_after"
        ),
    ];
    assert_eq!(warnings, expected);
    let text = settings.explain().to_string();
    let reported = text.lines().filter(|line| line.starts_with("warning: db.")).count();
    assert_eq!(reported, 2, "{text}");
}

#[test]
fn contradictory_settings_are_refused_with_both_sources() {
    let error = bare().environment([("PSN_DB_OVERFLOW_AFTER", "30")]).load().unwrap_err();
    let expected = "db.overflow_after = 30 (environment variable `PSN_DB_OVERFLOW_AFTER`) is out \
        of range: expected 0s to 30s (below pool_timeout), and db.pool_timeout = 30s (default); \
        no caller waits that long, so max_overflow would never be used; lower overflow_after or \
        raise pool_timeout";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_pool_a_reset_and_a_pooler_that_make_a_setting_useless_are_warnings() {
    let warned = |settings: &[(&str, &str)]| {
        let loader =
            settings.iter().fold(bare(), |loader, (setting, value)| loader.set(*setting, *value));
        let settings = loader.load().unwrap();
        settings.explain().warnings.iter().map(|it| it.setting.clone()).collect::<Vec<_>>()
    };
    assert_eq!(warned(&[("db.pool", "null"), ("db.min_idle", "2")]), ["db.min_idle"]);
    assert_eq!(warned(&[("db.pool", "null"), ("db.idle_timeout", "60")]), ["db.idle_timeout"]);
    assert_eq!(warned(&[("db.pool", "read-write"), ("db.max_overflow", "5")]), ["db.max_overflow"]);
    assert_eq!(
        warned(&[("db.reset", "replace"), ("db.overflow_linger", "5")]),
        ["db.overflow_linger"]
    );
    assert_eq!(
        warned(&[("db.behind", "pgbouncer"), ("db.cancel_abandoned", "true")]),
        ["db.cancel_abandoned"]
    );
    let nothing: [&str; 0] = [];
    assert_eq!(warned(&[("db.behind", "pgbouncer")]), nothing);
    assert_eq!(warned(&[("db.pool", "read-write"), ("preset", "production")]), nothing);
    assert_eq!(warned(&[("db.pool_timeout", "1")]), nothing);
    for preset in ["production", "development", "batch", "small", "medium", "large"] {
        assert_eq!(warned(&[("preset", preset)]), nothing);
    }
}
