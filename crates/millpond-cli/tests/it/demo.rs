//! `millpond demo` succeeds, its counts add up, and it leaves only the files that were asked for.

use crate::run::{Ended, Sandbox};

/// Returns the numbers of one column in the table that the demo prints.
#[track_caller]
fn column(ended: &Ended, at: usize) -> impl Fn(&str) -> u64 {
    let table: Vec<_> =
        ended.stdout.lines().skip_while(|line| !line.contains("writer  readers")).skip(1).collect();
    let rows: Vec<(String, String)> = table
        .iter()
        .take_while(|line| !line.is_empty())
        .map(|line| {
            let cells: Vec<_> =
                line.trim().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            (cells[0].to_owned(), cells[at].to_owned())
        })
        .collect();
    move |name| {
        rows.iter()
            .find(|(row, _)| row == name)
            .unwrap_or_else(|| panic!("no {name}"))
            .1
            .parse()
            .unwrap()
    }
}

#[test]
fn the_demo_succeeds_and_its_table_adds_up() {
    let sandbox = Sandbox::new();
    // Long enough for plenty of acquires on a busy machine.
    let ended = sandbox.run(&["demo", "--seconds", "5"]);
    ended.assert_code(0);
    for at in [1, 2] {
        let number = column(&ended, at);
        assert_eq!(
            number("acquires"),
            number("ok") + number("timed out") + number("cancelled") + number("failed")
        );
        assert_eq!(number("closed"), number("overflow") + number("pool_closed"));
        assert_eq!(number("opened"), number("closed"));
        assert_eq!((number("in use"), number("failed")), (0, 0));
        assert!(number("ok") > 10, "{ended:?}");
    }
    let readers = column(&ended, 2);
    assert_eq!(
        (readers("timed out"), readers("cancelled"), readers("overflow peak"), readers("overflow")),
        (1, 1, 2, 2)
    );
    assert!(ended.stdout.contains("The books balance."), "{ended:?}");
    assert!(!ended.stdout.contains("WRONG"), "{ended:?}");
    assert_eq!(sandbox.leftovers(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn the_demo_shows_the_timeout_the_holder_and_the_sources() {
    let ended = Sandbox::new().run(&["demo", "--seconds", "1"]);
    let out = &ended.stdout;
    assert!(
        out.contains(
            "QueuePool limit of size 4 overflow 2 reached, connection timed out, timeout 0.30"
        ),
        "{ended:?}"
    );
    assert!(out.contains("held longest: ") && out.contains("incidents.rs:"), "{ended:?}");
    assert!(out.contains("leak_after = 750 ms the pool reported who did not"), "{ended:?}");
    let size = out.lines().find(|line| line.trim_start().starts_with("db.pool_size")).unwrap();
    assert!(size.ends_with("code"), "{size}");
}

#[test]
fn piped_output_has_no_escape_codes_and_no_progress_line() {
    let ended = Ended::from(
        Sandbox::new().millpond(&["demo", "--seconds", "1"]).env("TERM", "xterm").output().unwrap(),
    );
    ended.assert_code(0);
    assert!(!ended.all().contains('\x1b') && !ended.all().contains('\r'), "{ended:?}");
    assert_eq!(ended.stderr, "");
}

#[test]
fn with_json_the_demo_prints_one_object_that_adds_up() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["demo", "--seconds", "1", "--json"]);
    ended.assert_code(0);
    let json = ended.json();
    assert_eq!(
        (json["balanced"].as_bool(), json["interrupted"].as_bool()),
        (Some(true), Some(false))
    );
    assert!(
        json["incidents"]["timeout"]
            .as_str()
            .unwrap()
            .starts_with("QueuePool limit of size 4 overflow 2 reached")
    );
    assert!(json["incidents"]["leak"].as_str().unwrap().contains("incidents.rs"));
    assert_eq!(json["load"]["wrong_sums"], 0);
    for pool in ["writer", "readers"] {
        let number =
            |name: &str| json["pools"][pool][name].as_u64().unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(
            number("acquires"),
            number("ok") + number("timed_out") + number("cancelled") + number("failed")
        );
        assert_eq!(number("opened"), number("closed") + number("detached") + number("open"));
        let reasons = json["pools"][pool]["closed_by_reason"].as_object().unwrap();
        assert_eq!(
            number("closed"),
            reasons.values().map(|count| count.as_u64().unwrap()).sum::<u64>()
        );
        let wait = |name: &str| json["pools"][pool][name].as_f64().unwrap();
        assert!(
            wait("wait_p50_us") <= wait("wait_p99_us")
                && wait("wait_p99_us") <= wait("wait_max_us"),
            "{json}"
        );
    }
    assert_eq!(json["pools"]["readers"]["overflow_peak"], 2);
    assert!(
        json["settings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row["setting"] == "db.pool" && row["source"] == "code")
    );
    assert_eq!((ended.stderr.as_str(), sandbox.leftovers().len()), ("", 0));
}

#[test]
fn a_kept_database_contains_all_the_money() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["demo", "--seconds", "1", "--file", "100% mine?.db"]);
    ended.assert_code(0);
    assert!(ended.stdout.contains("100% mine?.db"), "{ended:?}");
    let file = sandbox.path().join("100% mine?.db");
    let money = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
        let mut conn = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT sum(money) FROM accounts")
            .fetch_one(&mut conn)
            .await
            .unwrap()
    });
    assert_eq!(money, 100_000);
}

#[test]
fn a_file_that_exists_is_not_touched() {
    let sandbox = Sandbox::new();
    sandbox.write("mine.db", "precious");
    let ended = sandbox.run(&["demo", "--seconds", "1", "--file", "mine.db"]);
    ended.assert_code(1);
    assert!(ended.stderr.contains("mine.db exists already"), "{ended:?}");
    assert_eq!(std::fs::read(sandbox.path().join("mine.db")).unwrap(), b"precious");
}

#[test]
fn the_demo_ignores_the_settings_of_the_users_service() {
    let sandbox = Sandbox::new();
    sandbox.write("millpond.toml", "[redis]\nurl = \"no url\"\n[db]\npool_size = 0\n");
    let mut command = sandbox.millpond(&["demo", "--seconds", "1", "--json"]);
    command.env("PSN_DB_POOL_SZIE", "3").env("PSN_DB_PING_TIMEOUT", "never");
    let ended = Ended::from(command.output().unwrap());
    ended.assert_code(0);
    assert_eq!(sandbox.leftovers().len(), 0);
}

#[test]
fn an_unwritable_path_is_an_error_and_not_a_panic() {
    let ended = Sandbox::new().run(&["demo", "--seconds", "1", "--file", "no/such/place.db"]);
    ended.assert_code(1);
    assert!(
        ended.stderr.starts_with("millpond: ") && !ended.stderr.contains("panicked"),
        "{ended:?}"
    );
}
