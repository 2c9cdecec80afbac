//! Malformed values in every layer are an error with a name and a source; nothing panics, and no
//! value is guessed or ignored.

use crate::{bare, env, file, problem, toml};
use millpond_testkit::Garbler;

/// Settings, and values that each of them refuses.
const NONSENSE: &[(&str, &[&str])] = &[
    (
        "db.pool_size",
        &[
            "0",
            "-1",
            "51",
            "1e30",
            "NaN",
            "inf",
            "ten",
            "",
            " ",
            "1.5",
            "4294967296",
            "0x10",
            "1_0",
            "+1",
        ],
    ),
    ("db.max_overflow", &["-1", "101", "99999999999999999999999999", "true"]),
    (
        "db.pool_timeout",
        &[
            "0",
            "-1",
            "0.999",
            "301",
            "NaN",
            "inf",
            "-inf",
            "1e30",
            "ten",
            "",
            "5 parsecs",
            "1d",
            "1h1m",
        ],
    ),
    ("db.pool_recycle", &["0", "299", "7201", "never", "auto", "-off"]),
    ("db.recycle_jitter", &["51", "-1", "10%"]),
    ("db.pool_pre_ping", &["maybe", "2", "", "tru"]),
    ("db.ping_timeout", &["0", "301", "0.0000000001"]),
    ("db.idle_timeout", &["0", "86401", "auto"]),
    ("db.min_idle", &["11", "-1", "off"]),
    ("db.max_waiters", &["1000001", "auto", "-1"]),
    ("db.max_connecting", &["0", "51"]),
    ("db.backoff_max", &["0", "61s"]),
    ("db.fail_fast_after", &["0", "3601", "off"]),
    ("db.overflow_after", &["301", "-1ms"]),
    ("db.leak_after", &["0", "25h"]),
    ("db.max_lease", &["0", "25h", "auto"]),
    ("db.statement_timeout", &["0", "25h", "never"]),
    ("db.limits", &["maybe", "", "none"]),
    ("db.reset", &["rollback", "", "off", "0"]),
    ("db.pool", &["QueuePool", "", "read write"]),
    ("db.behind", &["pgbounce", "", "none", "auto", "true"]),
    ("db.cancel_abandoned", &["never", "", "2"]),
    ("db.tcp_keepalive", &["0.5", "3601", "auto", ""]),
    ("db.tcp_user_timeout", &["999ms", "3601", "auto", ""]),
    ("redis.tcp_keepalive", &["0.5", "3601", "auto", ""]),
    ("cache.tcp_user_timeout", &["999ms", "3601", "auto", ""]),
    ("redis.max_connections", &["9", "201", "0", "-1", "", "many"]),
    ("cache.max_connections", &["9", "201", "1e2"]),
    ("preset", &["huge", "", "none"]),
    ("redis.url", &[""]),
];

/// Parts of files, of which the parser accepts some.
const PIECES: &[&str] = &[
    "[db]",
    "[storage]",
    "[[db]]",
    "pool_size",
    "pool_timeout",
    "url",
    "preset",
    "=",
    "=",
    "\n",
    "\n",
    ".",
    "\"",
    "'",
    "'''",
    "{",
    "}",
    "[",
    "]",
    ",",
    "1",
    "-",
    "1e30",
    "nan",
    "inf",
    "0x",
    "\\u",
    "off",
    "#",
    "\u{0}",
    "é",
    "2027-01-01",
    "true",
    " ",
    "_",
];

#[test]
fn every_piece_of_nonsense_in_a_variable_is_refused_by_name() {
    for (setting, values) in NONSENSE {
        for value in *values {
            let name = format!("PSN_{}", setting.replace('.', "_").to_uppercase());
            let error = bare()
                .environment([
                    (name.as_str(), *value),
                    ("PSN_STORAGE_CONNECTION_STRING", "hunter2"),
                ])
                .load();
            let error = error.err().unwrap_or_else(|| panic!("{name}={value:?} was taken"));
            assert_eq!(error.problems.len(), 1, "{error}");
            let found = problem(&error, setting);
            assert!(found.source.contains(&name), "{found}");
            assert!(!found.message.is_empty() && !found.help.is_empty(), "{found:?}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}

#[test]
fn every_piece_of_nonsense_in_a_file_is_refused_by_line() {
    for (text, setting) in [
        ("[db]\npool_size = 0", "db.pool_size"),
        ("[db]\npool_size = -1", "db.pool_size"),
        ("[db]\npool_size = 10.0", "db.pool_size"),
        ("[db]\npool_size = true", "db.pool_size"),
        ("[db]\npool_size = []", "db.pool_size"),
        ("[db]\npool_size = {}", "db.pool_size"),
        ("[db]\npool_size = 07:32:00", "db.pool_size"),
        ("[db]\npool_size = 170141183460469231731687303715884105728", "db.pool_size"),
        ("[db]\npool_size = 9223372036854775808", "db.pool_size"),
        ("[db]\npool_timeout = nan", "db.pool_timeout"),
        ("[db]\npool_timeout = -inf", "db.pool_timeout"),
        ("[db]\npool_timeout = 1e30", "db.pool_timeout"),
        ("[db]\npool_timeout = 1e999", "db.pool_timeout"),
        ("[db]\npool_timeout = 18446744073709551616", "db.pool_timeout"),
        ("[db]\npool_timeout = false", "db.pool_timeout"),
        ("[db]\npool_recycle = false", "db.pool_recycle"),
        ("[db]\npool_pre_ping = 2", "db.pool_pre_ping"),
        ("[db]\nlimits = 2", "db.limits"),
        ("[db]\nreset = 1", "db.reset"),
        ("[db]\nbehind = false", "db.behind"),
        ("[db]\ncancel_abandoned = 2", "db.cancel_abandoned"),
        ("\n[[db]]", "db"),
        ("\ndb = 3", "db"),
        ("\nstorage = 'sqlite::memory:'", "storage"),
        ("\npreset = 3", "preset"),
        ("\npreset = ['small']", "preset"),
        ("[preset]\nx = 1", "preset"),
        ("[db]\npool_size.x = 1", "db.pool_size"),
        ("[db]\n'' = 1", "db."),
        ("\n'' = 1", ""),
        ("\n\"\\u0000\" = 1", "\\0"),
    ] {
        let error = toml(text).load().err().unwrap_or_else(|| panic!("{text} was taken"));
        assert_eq!(error.problems.len(), 1, "{error}");
        let line = if text.starts_with("[preset]") { "line 1" } else { "line 2" };
        assert!(problem(&error, setting).source.ends_with(line), "{text}: {error}");
    }
}

#[test]
fn nonsense_from_code_is_refused_in_load_and_not_before() {
    let error = bare()
        .set("db.pool_size", -1)
        .set("db.max_overflow", u64::MAX)
        .set("db.pool_timeout", f64::NAN)
        .set("db.connect_timeout", std::time::Duration::MAX)
        .set("db.hook_timeout", None::<u32>)
        .set("db.pool_pre_ping", 0.0)
        .set("", 1)
        .set("db", 1)
        .set("db.", 1)
        .set("db.pool_size.x", 1)
        .load()
        .unwrap_err();
    assert_eq!(error.problems.len(), 10, "{error}");
    assert!(error.problems.iter().all(|problem| problem.source == "code"), "{error}");
}

#[test]
fn a_file_that_is_no_settings_file_is_refused_by_path() {
    let binary = file(b"\xff\xfe\x00");
    let long = file("# x\n".repeat(20_000));
    let huge = "x/".repeat(50_000);
    for path in [
        "/",
        "/no/such",
        "",
        "/dev/zero",
        &huge,
        binary.to_str().unwrap(),
        long.to_str().unwrap(),
        "nul\0byte",
    ] {
        let error = bare().file(path).load().unwrap_err();
        let found = problem(&error, "settings file");
        assert!(found.message.starts_with("cannot be read"), "{found}");
        assert!(found.to_string().len() < 600, "{found}");
    }
}

#[test]
fn an_absurd_file_ends_in_a_report_of_bounded_lines() {
    for text in [
        "[".repeat(60_000),
        "a.".repeat(30_000),
        "a=[".repeat(20_000),
        "=\n".repeat(30_000),
        "\"".repeat(60_000),
    ] {
        assert!(toml(&text).load().is_err());
    }
    let keys: String = (0..6_000).map(|n| format!("k{n}=1\n")).collect();
    let error = toml(&keys).load().unwrap_err();
    assert_eq!(error.problems.len(), 6_000);
    let error =
        toml(&format!("[db]\n{} = 1\npool_size = '{}'\n", "k".repeat(30_000), "v".repeat(30_000)))
            .load()
            .unwrap_err();
    assert!(error.to_string().lines().all(|line| line.len() < 2_000), "{error}");
}

#[test]
fn an_empty_file_and_a_byte_order_mark_are_fine() {
    for text in
        ["", "\n", "# x", "[db]", "\u{feff}[db]\npool_size = 3", "[db]\r\npool_size = 3\r\n"]
    {
        assert!(toml(text).load().is_ok(), "{text:?}");
    }
}

#[test]
fn random_bytes_never_panic() {
    let (mut random, path) = (Random(42), file(""));
    for _ in 0..1_000 {
        let text: String =
            (0..random.below(40)).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let bytes: Vec<u8> = (0..random.below(40)).map(|_| random.below(256) as u8).collect();
        let lossy = String::from_utf8_lossy(&bytes).into_owned();
        for content in [text.as_bytes(), &bytes] {
            std::fs::write(&path, content).unwrap();
            let _ = bare().file(&path).load();
        }
        for value in [&text, &lossy] {
            let names = [
                "PSN_DB_POOL_SIZE",
                "PSN_DB_POOL_TIMEOUT",
                "PSN_DB_RESET",
                "PSN_PRESET",
                "PSN_DB_LIMITS",
            ];
            let variables = names.map(|name| (name.to_owned(), value.clone()));
            let _ = bare().environment(variables).load();
            let _ = bare()
                .environment([
                    (format!("PSN_DB_{value}"), value.clone()),
                    (value.clone(), value.clone()),
                ])
                .load();
            let _ = bare()
                .set(value.as_str(), value.as_str())
                .set("db.idle_timeout", value.as_str())
                .load();
            if let Ok(settings) = env([("PSN_REDIS_URL", value)]).load() {
                assert_eq!(settings.redis.url.as_ref().map(|url| url.expose()), Some(value.trim()));
                let _ = settings.explain().to_string();
            }
        }
    }
}

#[test]
fn a_broken_file_is_refused_without_its_secrets() {
    let path = file("");
    let (mut refused, mut loaded) = (0, 0);
    for seed in 0..1_000 {
        let text =
            Garbler::new(seed).line(include_str!("../corpus/files.txt")).replace("\\n", "\n");
        std::fs::write(&path, &text).unwrap();
        let shown = match bare().file(&path).load() {
            Ok(settings) => {
                loaded += 1;
                format!("{settings:?} {}", settings.explain())
            }
            Err(error) if error.to_string().contains("is not TOML") => {
                refused += 1;
                format!("{error} {error:?}")
            }
            // A secret may have become the name of a setting, and unknown settings are named.
            Err(_) => continue,
        };
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
    }
    assert!(refused > 100 && loaded > 100, "{refused} refused, {loaded} loaded");
}

#[test]
fn a_variable_and_code_accept_the_same_values() {
    let mut taken = 0;
    for seed in 0..1_000 {
        let value = Garbler::new(seed).line(include_str!("../corpus/values.txt"));
        if let Ok(read) = env([("PSN_DB_POOL_TIMEOUT", &value)]).load() {
            let written = bare().set("db.pool_timeout", read.db.pool.pool_timeout).load().unwrap();
            assert_eq!(format!("{:?}", written.db), format!("{:?}", read.db), "{value:?}");
            taken += 1;
        }
        if let Ok(read) =
            env([("PSN_DB_POOL_SIZE", &value), ("PSN_DB_IDLE_TIMEOUT", &value)]).load()
        {
            let code = bare()
                .set("db.pool_size", read.db.pool.pool_size)
                .set("db.idle_timeout", read.db.pool.idle_timeout);
            assert_eq!(
                format!("{:?}", code.load().unwrap().db),
                format!("{:?}", read.db),
                "{value:?}"
            );
            taken += 1;
        }
    }
    assert!(taken > 100, "only {taken} were taken");
}

/// Knuth's MMIX generator: different numbers each time, and the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}
