//! `millpond doctor` measures real servers, and reports what does not fit together.

use crate::run::{Ended, Sandbox};
use serde_json::Value;
use sqlx::{Connection, Row};
use std::time::Instant;

/// Returns the URL of a server of this run. If it is not running, prints a line `SKIP`.
fn url(stem: &str) -> Option<String> {
    let name = format!("MILLPOND_TEST_{stem}_URL");
    let url = std::env::var(&name).ok().filter(|url| !url.is_empty());
    if url.is_none() {
        println!("SKIP a diagnosis of a real server: no {name}");
    }
    url
}

fn doctor(arguments: &[&str]) -> Ended {
    let sandbox = Sandbox::new();
    Ended::from(sandbox.millpond(&["doctor"]).args(arguments).output().unwrap())
}

/// Returns what was measured at the only server.
fn measured(url: &str) -> Value {
    let started = Instant::now();
    let ended = doctor(&[url, "--json"]);
    let wall = started.elapsed().as_secs_f64() * 1e6;
    ended.assert_code(0);
    let json = ended.json();
    assert_eq!(json["good"], true);
    let measured = json["servers"][0].clone();
    // Half of the connects and pings took at least the median, and all were within the run.
    let micros = |name: &str| measured[name].as_f64().unwrap();
    assert!((10.0..wall / 3.0).contains(&micros("connect_us")), "{wall}: {measured}");
    assert!((1.0..wall / 13.0).contains(&micros("ping_us")), "{wall}: {measured}");
    assert!((1.0..wall / 3.0).contains(&micros("tcp_us")), "{wall}: {measured}");
    measured
}

/// Returns the lines of the output that begin with a severity.
fn findings(ended: &Ended) -> Vec<&str> {
    let severities = ["error: ", "warning: ", "note: "];
    ended
        .stdout
        .lines()
        .filter(|line| severities.iter().any(|severity| line.starts_with(severity)))
        .collect()
}

#[tokio::test]
async fn a_postgres_server_is_measured_and_its_memory_agrees_with_its_own_account() {
    let Some(url) = url("POSTGRES") else { return };
    let measured = measured(&url);
    assert!(measured["server"].as_str().unwrap().starts_with("PostgreSQL "), "{measured}");
    let mut conn = sqlx::PgConnection::connect(&url).await.unwrap();
    let row = sqlx::query("SELECT sum(total_bytes)::int8 FROM pg_backend_memory_contexts");
    let bytes: i64 = row.fetch_one(&mut conn).await.unwrap().get(0);
    let found = measured["server_memory"]["bytes"].as_f64().unwrap();
    assert!(found > bytes as f64 / 2.0 && found < 1e8, "{found} and {bytes}");
    assert_eq!(measured["limits"][0]["limit"], 300);
    assert_eq!(measured["tls"], false);
    assert!(measured["clock_ahead_s"].as_f64().unwrap().abs() < 1.0, "{measured}");
}

#[tokio::test]
async fn a_mariadb_server_is_measured_and_its_memory_agrees_with_its_own_account() {
    let Some(url) = url("MARIADB") else { return };
    let measured = measured(&url);
    assert!(measured["server"].as_str().unwrap().starts_with("MariaDB "), "{measured}");
    let mut conn = sqlx::MySqlConnection::connect(&url).await.unwrap();
    let sql = "SELECT CAST(MEMORY_USED AS UNSIGNED) FROM information_schema.PROCESSLIST WHERE ID = \
        CONNECTION_ID()";
    let bytes: u64 = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    let found = measured["server_memory"]["bytes"].as_u64().unwrap();
    assert!(found > bytes / 4 && found < bytes * 4, "{found} and {bytes}");
    assert_eq!(measured["limits"][0]["limit"], 300);
    assert_eq!(measured["tls"], false);
}

#[test]
fn a_redis_server_is_measured_and_its_limit_compared() {
    let Some(url) = url("REDIS") else { return };
    let measured = measured(&url);
    assert!(measured["server"].as_str().unwrap().starts_with("Redis "), "{measured}");
    // A new connection of Redis 7 has buffers of 16 KiB for questions and for answers.
    let bytes = measured["server_memory"]["bytes"].as_u64().unwrap();
    assert!((10_000..50_000).contains(&bytes), "{measured}");
    assert_eq!(measured["limits"][0]["name"], "maxclients");
    let ended = doctor(&[&url, "--replicas", "1000"]);
    ended.assert_code(1);
    let found = findings(&ended);
    assert!(
        found[0].starts_with(
            "error: cache.max_connections = 50 (default): 1000 replicas x (at most 50) = 50000 \
             connections, but the server has maxclients = "
        ),
        "{ended:?}"
    );
}

#[test]
fn an_sqlite_file_is_measured_and_not_changed() {
    let sandbox = Sandbox::new();
    sandbox.write("app.db", "");
    let ended = sandbox.run(&["doctor", "sqlite:///./app.db"]);
    ended.assert_code(0);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("storage.connection_string: SQLite 3"), "{ended:?}");
    for name in ["  connect  ", "  ping  ", "  cache  "] {
        assert!(lines.iter().any(|line| line.starts_with(name)), "{name}: {ended:?}");
    }
    let found = findings(&ended);
    assert!(found[0].starts_with("warning: db.pool = auto (default): every query"), "{ended:?}");
    assert!(ended.stdout.contains("No errors, 1 warning."), "{ended:?}");
    assert_eq!(std::fs::metadata(sandbox.path().join("app.db")).unwrap().len(), 0);
    let ended = sandbox.run(&["doctor", "sqlite:///./missing.db"]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("missing.db does not exist; the service would create it"));
    let ended = sandbox.run(&["doctor", "sqlite:///./missing.db?mode=rw"]);
    ended.assert_code(1);
    assert!(findings(&ended)[0].starts_with("error: storage.connection_string"), "{ended:?}");
    assert!(!sandbox.path().join("missing.db").exists());
}

#[test]
fn replicas_that_exceed_the_limit_of_the_server_are_an_error() {
    let Some(url) = url("POSTGRES") else { return };
    let ended = doctor(&[&url, "--replicas", "12"]);
    ended.assert_code(1);
    let found = findings(&ended);
    assert!(
        found[0].starts_with(
            "error: db.pool_size = 10 (default): 12 replicas x (pool_size 10 + max_overflow 20) = \
             360 connections, but the server has max_connections = 300, of which 3 are reserved"
        ),
        "{ended:?}"
    );
    assert!(found[0].contains("run at most 9 replicas"), "{ended:?}");
    assert!(ended.stdout.contains("Something cannot work"), "{ended:?}");
}

#[test]
fn sessions_that_the_server_ends_early_are_a_warning() {
    let Some(url) = url("POSTGRES") else { return };
    let url = format!("{url}?options=-c%20idle_session_timeout%3D60000");
    let ended = doctor(&[&url]);
    ended.assert_code(0);
    let found = findings(&ended);
    assert!(
        found[0].starts_with("warning: db.pool_recycle = 3600s (default): the server ends"),
        "{ended:?}"
    );
}

#[test]
fn a_pooler_that_the_settings_do_not_mention_is_an_error_with_the_setting() {
    let Some(url) = url("PGBOUNCER") else { return };
    let ended = doctor(&[&url]);
    ended.assert_code(1);
    let found = findings(&ended);
    assert!(
        found[0].starts_with("error: db.behind = server (default): ")
            && found[0].contains("set behind = \"pgbouncer\""),
        "{ended:?}"
    );
    let sandbox = Sandbox::new();
    let mut command = sandbox.millpond(&["doctor", "--json"]);
    command.env("PSN_STORAGE_CONNECTION_STRING", &url).env("PSN_DB_BEHIND", "pgbouncer");
    let ended = Ended::from(command.output().unwrap());
    ended.assert_code(0);
    assert!(ended.json()["servers"][0]["ping_us"].as_f64().unwrap() > 0.0, "{ended:?}");
}

#[test]
fn encryption_is_reported_as_the_server_names_it_and_its_handshake_measured() {
    for stem in ["POSTGRES_TLS", "MARIADB_TLS", "REDIS_TLS"] {
        let Some(mut url) = url(stem) else { continue };
        // The certificate of the tests is not that of a known authority.
        if let Ok(authority) = std::env::var(format!("MILLPOND_TEST_{stem}_CA"))
            && stem == "REDIS_TLS"
        {
            url.push_str(&format!("?tls_ca={authority}"));
        }
        let measured = measured(&url);
        let tls = measured["tls"].as_str().unwrap();
        assert!(tls.starts_with("TLSv1.") || stem == "REDIS_TLS", "{stem}: {tls}");
        assert!(measured["tls_us"].as_f64().unwrap() > 10.0, "{stem}: {measured}");
    }
}

#[test]
fn a_server_that_cannot_be_reached_is_an_error_without_the_password() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.millpond(&["doctor"]);
    command
        .env("PSN_STORAGE_CONNECTION_STRING", "postgresql://u:hunter2@127.0.0.1:1/d")
        .env("PSN_DB_POOL_TIMEOUT", "1");
    let ended = Ended::from(command.output().unwrap());
    ended.assert_code(1);
    let found = findings(&ended);
    assert!(
        found[0].starts_with(
            "error: storage.connection_string = postgresql://u:***@127.0.0.1:1/d (environment \
             variable `PSN_STORAGE_CONNECTION_STRING`): "
        ),
        "{ended:?}"
    );
    assert!(!ended.all().contains("hunter2"), "{ended:?}");
}

#[test]
fn settings_that_contradict_each_other_are_warnings() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "a.toml",
        "[storage]\nconnection_string = \"sqlite::memory:\"\n[db]\nmax_overflow = 0\n\
         overflow_linger = 5\nreset = \"none\"\n",
    );
    let ended = sandbox.run(&["doctor", "--config", "a.toml"]);
    ended.assert_code(0);
    let found = findings(&ended);
    assert!(
        found[0].starts_with("warning: db.overflow_linger = 5s (`a.toml`, line 5): has no effect"),
        "{ended:?}"
    );
    assert!(found[1].starts_with("warning: db.reset = none (`a.toml`, line 6): "), "{ended:?}");
    // Invalid settings are all reported, and nothing is connected to.
    sandbox.write("b.toml", "[db]\npool_size = 0\nmax_overflow = -1\n");
    let ended = sandbox.run(&["doctor", "--config", "b.toml"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("2 problems with the settings"), "{ended:?}");
}

#[test]
fn a_url_and_a_file_exclude_each_other() {
    doctor(&["sqlite::memory:", "--config", "a.toml"]).assert_code(2);
    let ended = doctor(&["oracle://u:hunter2@h/d"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("(command line)"), "{ended:?}");
    assert!(!ended.all().contains("hunter2"), "{ended:?}");
    let ended = Sandbox::new().run(&["doctor"]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("note: settings: they name no server"), "{ended:?}");
}
