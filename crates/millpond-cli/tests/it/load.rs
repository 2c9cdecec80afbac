//! `millpond load` drives a pool, and `millpond size` computes what a load needs.

use crate::run::{Ended, Sandbox};
use std::time::Duration;

fn micros(json: &serde_json::Value, name: &str, quantile: &str) -> f64 {
    json[name][quantile].as_f64().unwrap()
}

#[test]
fn tasks_that_ask_without_a_pause_are_counted_and_timed() {
    let sandbox = Sandbox::new();
    let run = ["load", "sqlite::memory:", "--concurrency", "3", "--seconds", "1"];
    let ended = sandbox.run(&run);
    ended.assert_code(0);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("SQLite: ") && lines[0].contains("by 3 tasks"), "{ended:?}");
    assert!(lines[1].contains("p50") && lines[1].contains("p99.9"), "{ended:?}");
    let json = sandbox.run(&[&run[..], &["--json"]].concat()).json();
    assert!(json["queries"].as_u64().unwrap() > 3, "{json}");
    assert_eq!((&json["failed"], &json["unsent"]), (&0.into(), &0.into()));
    assert!(micros(&json, "query_us", "p50") <= micros(&json, "query_us", "max"), "{json}");
    assert!(json["per_second"].as_f64().unwrap() > 1.0, "{json}");
}

#[test]
fn at_a_rate_no_more_queries_are_sent_than_are_due() {
    let sandbox = Sandbox::new();
    let run = ["load", "sqlite::memory:", "--rate", "40", "--seconds", "1", "--json"];
    let json = sandbox.run(&run).json();
    let sent = json["queries"].as_u64().unwrap();
    assert!(sent > 0 && sent + json["unsent"].as_u64().unwrap() <= 41, "{json}");
}

#[test]
fn queries_that_fail_are_counted_with_the_first_error() {
    let sandbox = Sandbox::new();
    let run = ["load", "sqlite::memory:", "--seconds", "1", "--query", "SELECT * FROM missing"];
    let ended = sandbox.run(&run);
    ended.assert_code(1);
    assert!(ended.stdout.contains("error: ") && ended.stdout.contains("missing"), "{ended:?}");
    let ended = sandbox.run(&["load", "sqlite:///./nowhere.db"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("there is no database"), "{ended:?}");
    assert!(!sandbox.path().join("nowhere.db").exists());
    let ended = sandbox.run(&["load"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("no server is named"), "{ended:?}");
}

/// Queries that take 50 ms each, and one that does not.
const SERVERS: [(&str, &str); 3] =
    [("POSTGRES", "SELECT pg_sleep(0.05)"), ("MARIADB", "SELECT sleep(0.05)"), ("REDIS", "PING")];

#[test]
fn real_servers_are_driven() {
    for (stem, query) in SERVERS {
        let name = format!("MILLPOND_TEST_{stem}_URL");
        let Ok(url) = std::env::var(&name) else {
            println!("SKIP a load of a real server: no {name}");
            continue;
        };
        let run = ["load", &url, "--seconds", "1", "--query", query, "--json"];
        let ended = Sandbox::new().run(&run);
        ended.assert_code(0);
        let json = ended.json();
        assert!(json["queries"].as_u64().unwrap() > 10, "{json}");
        if stem != "REDIS" {
            let slept = Duration::from_millis(50).as_micros() as f64;
            assert!(micros(&json, "query_us", "p50") >= slept, "{json}");
            // Ten tasks that always ask need ten connections.
            assert_eq!(json["peak"], 10, "{json}");
        }
    }
}

#[test]
fn a_sweep_recommends_a_size_and_writes_it() {
    let sandbox = Sandbox::new();
    sandbox.write("app.db", "");
    let run = ["load", "sqlite:///./app.db", "--sweep", "--concurrency", "2", "--seconds", "1"];
    let ended = sandbox.run(&[&run[..], &["--write", "new.toml"]].concat());
    ended.assert_code(0);
    assert!(ended.stdout.starts_with("pool_size  queries/s"), "{ended:?}");
    let written = std::fs::read_to_string(sandbox.path().join("new.toml")).unwrap();
    assert!(ended.stdout.contains(&written), "{ended:?}");
    sandbox.run(&["check", "--config", "new.toml"]).assert_code(0);
    // No file is overwritten.
    let ended = sandbox.run(&[&run[..], &["--write", "new.toml", "--json"]].concat());
    ended.assert_code(1);
    assert!(ended.json()["error"].as_str().unwrap().contains("new.toml"), "{ended:?}");
    let json = sandbox.run(&[&run[..], &["--json"]].concat()).json();
    assert_eq!(json["runs"][1]["pool_size"], 2, "{json}");
    assert!([1, 2].map(|size| size.into()).contains(&json["recommended"]), "{json}");
}

#[test]
fn the_size_is_printed_as_settings() {
    let sandbox = Sandbox::new();
    let run = ["size", "--rate", "200", "--hold", "40ms", "--wait", "5ms"];
    let ended = sandbox.run(&run);
    ended.assert_code(0);
    assert!(ended.stdout.contains("pool_size = 15\nmax_overflow = 30\n"), "{ended:?}");
    assert!(
        ended.stdout.starts_with("warning: db.pool_size = 10 (default): 200 acquires a second"),
        "{ended:?}"
    );
    // Shared by four processes.
    let json = sandbox.run(&[&run[..], &["--replicas", "4", "--json"]].concat()).json();
    assert_eq!(json["mean_in_use"], 2.0);
    assert!(json["pool_size"].as_u64().unwrap() < 10, "{json}");
    let mut command = sandbox.millpond(&run);
    let ended = Ended::from(command.env("PSN_DB_MAX_OVERFLOW", "0").output().unwrap());
    ended.assert_code(1);
    assert!(ended.stdout.starts_with("error: db.pool_size"), "{ended:?}");
    // What is printed is valid, also above the ranges.
    let ended = sandbox.run(&["size", "--rate", "5000", "--hold", "40ms"]);
    let (_, settings) = ended.stdout.split_once("For the pool:\n\n").unwrap();
    let (settings, _) = settings.split_once("\n\n").unwrap();
    sandbox.write("large.toml", settings);
    sandbox.run(&["check", "--config", "large.toml"]).assert_code(0);
    assert!(ended.stdout.contains("(twice that) and limits = \"off\""), "{ended:?}");
    // Three processes share what does not divide.
    let ended = sandbox.run(&["size", "--rate", "100", "--hold", "40ms", "--replicas", "3"]);
    assert!(ended.stdout.contains(": 33.33 acquires a second"), "{ended:?}");
    for [rate, hold] in [["0", "1s"], ["nan", "1s"], ["inf", "1s"], ["1", "soon"], ["1", "0"]] {
        let ended = sandbox.run(&["size", "--rate", rate, "--hold", hold]);
        ended.assert_code(2);
        assert!(ended.stderr.contains("expected a"), "{ended:?}");
    }
}
