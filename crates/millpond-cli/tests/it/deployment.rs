//! `millpond check` compares the connections of all processes with what their server accepts.

use crate::run::{Ended, Sandbox};

/// Checks with a URL and these variables.
fn check(url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let sandbox = Sandbox::new();
    let mut command = sandbox.millpond(&["check"]);
    command.args(arguments).env("PSN_STORAGE_CONNECTION_STRING", url);
    Ended::from(command.envs(variables.iter().copied()).output().unwrap())
}

const POSTGRES: &str = "postgresql://u:hunter2@db.example/d";

#[test]
fn replicas_that_exceed_the_servers_limit_are_an_error() {
    let limits = ["--replicas", "4", "--max-connections", "100", "--reserved", "3"];
    let ended = check(POSTGRES, &limits, &[]);
    ended.assert_code(1);
    let expected = "error: db.pool_size = 10 (default): 4 replicas x (pool_size 10 + max_overflow \
        20) = 120 connections, but the server has max_connections = 100, of which 3 are reserved, \
        so 97 are left; lower the pool to 24 connections for each replica, run at most 3 replicas, \
        raise max_connections to 123, or put a pooler in front of the server";
    assert!(ended.stdout.lines().any(|line| line == expected), "{ended:?}");
    assert!(ended.stdout.contains("cannot work as they are deployed"), "{ended:?}");
    assert!(!ended.all().contains("hunter2"), "{ended:?}");
    let json = check(POSTGRES, &["--replicas", "4", "--max-connections", "100", "--json"], &[]);
    json.assert_code(1);
    let json = json.json();
    assert_eq!(json["good"], false);
    assert_eq!(json["findings"][0]["severity"], "error");
    assert_eq!(json["findings"][0]["about"], "db.pool_size");
}

#[test]
fn replicas_that_fit_are_a_note_with_the_sum() {
    let ended = check(POSTGRES, &["--replicas", "4", "--max-connections", "200"], &[]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("= 120 connections, 60 % of what the server accepts"));
    assert!(ended.stdout.contains("The settings are valid. No server"), "{ended:?}");
    // Enough for four, and not for the fifth of a rolling deployment.
    let ended = check(POSTGRES, &["--replicas", "4", "--max-connections", "130"], &[]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("starts a replica before it stops one needs 150"), "{ended:?}");
    assert!(ended.stdout.contains("The settings are valid, with 1 warning."), "{ended:?}");
}

#[test]
fn more_connections_than_a_server_accepts_by_default_are_a_warning() {
    let large = [("PSN_PRESET", "large")];
    let ended = check(POSTGRES, &[], &large);
    ended.assert_code(0);
    assert!(
        ended.stdout.contains(
            "warning: db.pool_size = 50 (preset `large`): pool_size 50 + max_overflow 100 = 150 \
             connections, but the server has max_connections = 100 by default"
        ),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("The settings are valid, with 1 warning."), "{ended:?}");
    for url in ["mysql://u:hunter2@h/d", "sqlite::memory:"] {
        let ended = check(url, &[], &large);
        ended.assert_code(0);
        assert!(!ended.stdout.contains("warning"), "{ended:?}");
    }
    let ended = check("mysql://u:hunter2@h/d", &["--replicas", "2"], &large);
    ended.assert_code(0);
    assert!(ended.stdout.contains("= 300 connections, but the server has"), "{ended:?}");
}

#[test]
fn without_a_database_the_sum_is_only_printed() {
    let ended = Sandbox::new().run(&["check", "--replicas", "3"]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("3 replicas x (pool_size 10 + max_overflow 20) = 90"));
    let sandbox = Sandbox::new();
    let mut command = sandbox.millpond(&["check", "--replicas", "500"]);
    let ended = Ended::from(command.env("PSN_CACHE_URL", "redis://h").output().unwrap());
    ended.assert_code(0);
    assert!(ended.stdout.contains("500 replicas x (at most 50) = 25000 connections"), "{ended:?}");
}

#[test]
fn risky_settings_are_warnings() {
    let ended = check("sqlite:///./app.db", &[], &[]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("warning: db.pool = auto (default): every query"), "{ended:?}");
    let unchecked = [("PSN_DB_POOL_PRE_PING", "false"), ("PSN_DB_POOL_RECYCLE", "off")];
    let ended = check(POSTGRES, &[], &unchecked);
    ended.assert_code(0);
    let expected =
        "warning: db.pool_pre_ping = false (environment variable `PSN_DB_POOL_PRE_PING`)";
    assert!(ended.stdout.contains(expected), "{ended:?}");
}

#[test]
fn reserved_connections_need_a_limit() {
    Sandbox::new().run(&["check", "--reserved", "3"]).assert_code(2);
    Sandbox::new().run(&["check", "--replicas", "0"]).assert_code(2);
}
