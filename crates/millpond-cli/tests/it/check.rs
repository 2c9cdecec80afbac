//! `millpond check` explains valid settings and reports all problems of invalid ones.

use crate::run::{Ended, Sandbox};
use std::io::Read;
use std::process::Stdio;

#[test]
fn without_a_file_the_defaults_are_good() {
    let ended = Sandbox::new().run(&["check"]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("db.pool_size") && ended.stdout.contains("default"), "{ended:?}");
    assert!(
        ended.stdout.contains(
            "The settings are valid. No server was connected to; use --connect for that."
        ),
        "{ended:?}"
    );
    assert_eq!(ended.stderr, "");
}

#[test]
fn every_value_is_shown_with_its_source() {
    let sandbox = Sandbox::new();
    let url = "[storage]\nconnection_string = \"postgresql://h/d\"\n";
    let db = "[db]\npool_size = 20\nbehind = \"pgbouncer\"\n";
    sandbox.write("here.toml", &format!("preset = \"production\"\n{url}{db}"));
    let ended = Ended::from(
        sandbox
            .millpond(&["check", "--config", "here.toml"])
            .env("PSN_DB_MAX_OVERFLOW", "7")
            .output()
            .unwrap(),
    );
    ended.assert_code(0);
    let line = |setting: &str| {
        ended.stdout.lines().find(|line| line.starts_with(setting)).unwrap().to_owned()
    };
    assert!(
        line("db.pool_size").contains("20") && line("db.pool_size").contains("here.toml"),
        "{ended:?}"
    );
    assert!(
        line("db.behind").contains("pgbouncer") && line("db.behind").contains("here.toml"),
        "{ended:?}"
    );
    assert!(line("db.max_overflow").contains("PSN_DB_MAX_OVERFLOW"), "{ended:?}");
    assert!(
        line("db.pool_recycle").contains("1800s") && line("db.pool_recycle").contains("production"),
        "{ended:?}"
    );
}

#[test]
fn all_problems_are_reported_at_once_a_misspelt_variable_among_them() {
    let sandbox = Sandbox::new();
    sandbox.write("millpond.toml", "[db]\npool_size = 500\npool_tiemout = 3\n");
    let ended = Ended::from(
        sandbox
            .millpond(&["check"])
            .env("PSN_DB_POOL_SZIE", "20")
            .env("PSN_DB_LEAK_AFTER", "soon")
            .output()
            .unwrap(),
    );
    ended.assert_code(1);
    assert!(ended.stderr.contains("4 problems with the settings"), "{ended:?}");
    for reported in [
        "db.pool_size = 500",
        "1-50",
        "pool_tiemout",
        "PSN_DB_POOL_SZIE",
        "PSN_DB_POOL_SIZE",
        "soon",
    ] {
        assert!(ended.stderr.contains(reported), "{reported}: {ended:?}");
    }
    assert_eq!(ended.stdout, "");
}

#[test]
fn problems_are_printed_as_json_on_standard_output() {
    let ended = Ended::from(
        Sandbox::new()
            .millpond(&["check", "--json"])
            .env("PSN_DB_POOL_SIZE", "0")
            .output()
            .unwrap(),
    );
    ended.assert_code(1);
    let json = ended.json();
    assert_eq!(json["good"], false);
    assert_eq!(json["problems"][0]["setting"], "db.pool_size");
    assert_eq!(ended.stderr, "");
}

#[test]
fn good_settings_are_printed_as_json() {
    let ended = Sandbox::new().run(&["check", "--json"]);
    ended.assert_code(0);
    let json = ended.json();
    assert_eq!(json["good"], true);
    let rows = json["settings"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["setting"] == "db.pool_size"
        && row["value"] == "10"
        && row["source"] == "default"));
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let ended = Sandbox::new().run(&["check", "--config", "nowhere.toml"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("nowhere.toml"), "{ended:?}");
}

#[test]
fn a_url_that_leads_somewhere_else_than_it_looks_is_invalid() {
    for (variable, url) in [
        ("PSN_STORAGE_CONNECTION_STRING", "sqlite:////x/app.db "),
        ("PSN_STORAGE_CONNECTION_STRING", "sqlite:////x/app\n.db"),
        ("PSN_STORAGE_CONNECTION_STRING", "postgres://my host/d"),
        ("PSN_STORAGE_CONNECTION_STRING", "postgres://::1/d"),
        ("PSN_STORAGE_CONNECTION_STRING", "mysql://[zzz]/d"),
        ("PSN_REDIS_URL", "redis://::1"),
        ("PSN_REDIS_URL", "redis://[zzz]"),
        ("PSN_CACHE_URL", "redis://my host"),
        ("PSN_CACHE_URL", "\tredis://h"),
    ] {
        let ended =
            Ended::from(Sandbox::new().millpond(&["check"]).env(variable, url).output().unwrap());
        ended.assert_code(1);
        assert!(ended.stderr.contains(variable), "{url:?}: {ended:?}");
    }
    for end in ["\n", "\r\n", "\r"] {
        let url = format!("sqlite:////x/app.db{end}");
        let sandbox = Sandbox::new();
        let ended = sandbox.millpond(&["check"]).env("PSN_STORAGE_CONNECTION_STRING", url).output();
        let ended = Ended::from(ended.unwrap());
        ended.assert_code(0);
        let line = ended
            .stdout
            .lines()
            .find(|line| line.starts_with("storage.connection_string"))
            .unwrap();
        assert!(line.contains("sqlite:////x/app.db ") && !line.contains("app.db\\"), "{line}");
    }
}

#[test]
fn no_secret_is_printed_whatever_is_wrong() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "bad.toml",
        "[storage]\nconnection_string = \"postgresql://user:hunter2@localhost/db\n",
    );
    sandbox.write(
        "good.toml",
        "[storage]\nconnection_string \
         = \"postgresql://user:hunter2@localhost/db?sslmode=require\"\n",
    );
    for (arguments, code) in [
        (&["check", "--config", "bad.toml"][..], 1),
        (&["check", "--config", "good.toml"], 1),
        (&["demo", "--seconds", "1"], 0),
    ] {
        for extra in [None, Some("--json")] {
            let ended = Ended::from(
                sandbox
                    .millpond(arguments)
                    .args(extra)
                    .env("PSN_REDIS_URL", "redis://:hunter2@localhost/1")
                    .env("PSN_DB_PING_TIMEOUT", "postgresql://user:hunter2@localhost/db")
                    .output()
                    .unwrap(),
            );
            ended.assert_code(code);
            assert!(!ended.all().contains("hunter2"), "{arguments:?}: {ended:?}");
        }
    }
}

#[test]
fn a_url_of_every_backend_passes_unless_its_backend_refuses_it() {
    for (url, refused) in [
        ("postgresql+asyncpg://u:hunter2@localhost/d?sslmode=require", None),
        ("mysql+pymysql://u:hunter2@localhost/d?ssl_ca=/ca.pem", None),
        ("sqlite:///./x.db", None),
        ("postgresql://u:hunter2@localhost/d?ssl=require", Some("sslmode=require")),
        ("mysql://u:hunter2@localhost/d?ssl=require", Some("\"ssl\"")),
    ] {
        let ended = Ended::from(
            Sandbox::new()
                .millpond(&["check"])
                .env("PSN_STORAGE_CONNECTION_STRING", url)
                .output()
                .unwrap(),
        );
        ended.assert_code(i32::from(refused.is_some()));
        if let Some(refused) = refused {
            assert!(ended.stderr.contains(refused), "{url}: {ended:?}");
            assert!(
                ended.stderr.contains("environment variable `PSN_STORAGE_CONNECTION_STRING`"),
                "{ended:?}"
            );
        }
        assert!(!ended.all().contains("hunter2"), "{ended:?}");
    }
}

#[test]
fn a_url_is_shown_without_its_query_and_a_bad_one_with_all_other_problems() {
    let sandbox = Sandbox::new();
    sandbox.write("a.toml", "[storage]\nconnection_string = \"sqlite:///./a.db?timeout=77\"\n");
    // `--file` is the name that users try first.
    let ended = sandbox.run(&["check", "--file", "a.toml"]);
    ended.assert_code(0);
    assert!(
        ended.stdout.contains("sqlite:///./a.db?***") && !ended.stdout.contains("77"),
        "{ended:?}"
    );
    sandbox.write(
        "b.toml",
        "[storage]\nconnection_string = \"sqllite:///./a.db\"\n[db]\npool_size = 0\n",
    );
    let ended = sandbox.run(&["check", "--file", "b.toml"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("2 problems with the settings"), "{ended:?}");
    assert!(
        ended.stderr.contains("`b.toml`, line 2") && ended.stderr.contains("`sqlite://`"),
        "{ended:?}"
    );
}

#[test]
fn a_url_without_a_backend_is_an_error() {
    for url in
        ["hunter2", "oracle://h/d", "sqlite:///x.db?no_such_parameter=1", "redis://localhost/1"]
    {
        let sandbox = Sandbox::new();
        let ended = Ended::from(
            sandbox
                .millpond(&["check"])
                .env("PSN_STORAGE_CONNECTION_STRING", url)
                .output()
                .unwrap(),
        );
        ended.assert_code(1);
        assert!(!ended.stderr.contains("hunter2") && !ended.stderr.is_empty(), "{ended:?}");
        assert!(!sandbox.path().join("x.db").exists());
    }
}

#[cfg(unix)]
#[test]
fn an_environment_that_is_not_utf_8_is_a_problem_and_no_panic() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let broken = OsStr::from_bytes(b"hunter2\xff");
    let sandbox = Sandbox::new();
    let harmless = Ended::from(
        sandbox.millpond(&["check"]).env("OTHER", broken).env(broken, "x").output().unwrap(),
    );
    harmless.assert_code(0);
    let ended =
        Ended::from(sandbox.millpond(&["check"]).env("PSN_REDIS_URL", broken).output().unwrap());
    ended.assert_code(1);
    assert!(
        ended.stderr.contains("PSN_REDIS_URL") && ended.stderr.contains("not UTF-8"),
        "{ended:?}"
    );
    assert!(!ended.all().contains("hunter2") && !ended.all().contains("panicked"), "{ended:?}");
}

#[test]
fn a_reader_that_closes_the_pipe_early_is_no_error() {
    let mut child = Sandbox::new()
        .millpond(&["check"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut reported = String::new();
    child.stderr.take().unwrap().read_to_string(&mut reported).unwrap();
    assert_eq!((child.wait().unwrap().code(), reported.as_str()), (Some(0), ""));
}

#[test]
fn the_urls_of_redis_are_checked_and_no_password_is_shown() {
    let sandbox = Sandbox::new();
    let urls = |redis: &str, cache: &str| {
        let mut check = sandbox.millpond(&["check"]);
        Ended::from(check.env("PSN_REDIS_URL", redis).env("PSN_CACHE_URL", cache).output().unwrap())
    };
    let ended = urls("redis://:hunter2@h/1", "redsi://:hunter2@h");
    ended.assert_code(1);
    assert!(
        ended.stderr.contains("cache.url") && ended.stderr.contains("PSN_CACHE_URL"),
        "{ended:?}"
    );
    assert!(!ended.stderr.contains("redis.url") && !ended.stderr.contains("hunter2"), "{ended:?}");
    let ended = urls("redis://:hunter2@h/1", "redis-cluster://node1:7000,node2:7001");
    ended.assert_code(0);
    assert!(
        ended.stdout.contains("redis://:***@h/1") && !ended.stdout.contains("hunter2"),
        "{ended:?}"
    );
}

#[test]
fn conflicting_settings_are_warnings_and_no_error() {
    let sandbox = Sandbox::new();
    sandbox.write("millpond.toml", "[db]\nmax_overflow = 0\noverflow_linger = 5\n");
    let ended = sandbox.run(&["check"]);
    ended.assert_code(0);
    let expected = "warning: db.overflow_linger = 5s (`millpond.toml`, line 3) has no effect with \
        db.max_overflow = 0 (`millpond.toml`, line 2); raise max_overflow, or leave \
        overflow_linger out";
    assert!(ended.stdout.lines().any(|line| line == expected), "{ended:?}");
    let json = sandbox.run(&["check", "--json"]).json();
    assert_eq!(json["good"], true);
    assert_eq!(json["warnings"][0]["setting"], "db.overflow_linger");
}

#[test]
fn with_connect_every_server_is_connected_to() {
    let sandbox = Sandbox::new();
    let checked = |url: &str, extra: &[&str]| {
        let mut check = sandbox.millpond(&["check", "--connect"]);
        Ended::from(check.args(extra).env("PSN_STORAGE_CONNECTION_STRING", url).output().unwrap())
    };
    sandbox.write("here.db", "");
    let ended = checked("sqlite:///./here.db", &[]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("storage.connection_string: connected to SQLite"), "{ended:?}");
    assert!(ended.stdout.contains("every server that they name can be reached"), "{ended:?}");
    let json = checked("sqlite:///./here.db", &["--json"]).json();
    assert_eq!(json["connected"][0]["server"], "SQLite");
    // A directory is not a database.
    let ended = checked("sqlite:///.", &[]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("storage.connection_string: "), "{ended:?}");
}

#[test]
fn with_connect_no_file_is_created_or_changed() {
    let sandbox = Sandbox::new();
    let checked = |url: &str, extra: &[&str]| {
        let mut check = sandbox.millpond(&["check", "--connect"]);
        check.args(extra).env("PSN_STORAGE_CONNECTION_STRING", url);
        Ended::from(check.env("PSN_DB_POOL", "read-write").output().unwrap())
    };
    let new = sandbox.path().join("new.db");
    let ended = checked("sqlite:///./new.db", &[]);
    ended.assert_code(0);
    let expected = format!("{} does not exist; the service would create it", new.display());
    assert!(ended.stdout.contains(&expected), "{ended:?}");
    assert!(!ended.stdout.contains("connected to"), "{ended:?}");
    let json = checked("sqlite:///./new.db", &["--json"]).json();
    assert_eq!(json["connected"][0]["missing"], new.to_str().unwrap());
    checked("sqlite:///./new.db?mode=rw", &[]).assert_code(1);
    checked("sqlite:///./nowhere/new.db", &[]).assert_code(1);
    assert!(!new.exists());

    sandbox.write("old.db", "");
    checked("sqlite:///./old.db", &[]).assert_code(0);
    assert_eq!(std::fs::metadata(sandbox.path().join("old.db")).unwrap().len(), 0);
}

#[test]
fn with_connect_a_pooler_in_front_of_the_server_is_found() {
    let Ok(url) = std::env::var("MILLPOND_TEST_PGBOUNCER_URL") else {
        println!("SKIP what check says of PgBouncer: no MILLPOND_TEST_PGBOUNCER_URL");
        return;
    };
    let sandbox = Sandbox::new();
    let checked = |behind: &str| {
        let mut check = sandbox.millpond(&["check", "--connect"]);
        check.env("PSN_STORAGE_CONNECTION_STRING", &url).env("PSN_DB_BEHIND", behind);
        Ended::from(check.output().unwrap())
    };
    let ended = checked("pgbouncer");
    ended.assert_code(0);
    assert!(
        ended.stdout.contains("connected to PostgreSQL through a transaction pooler"),
        "{ended:?}"
    );
    let ended = checked("server");
    ended.assert_code(1);
    assert!(ended.stderr.contains("behind = \"pgbouncer\""), "{ended:?}");
}
