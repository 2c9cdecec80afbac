//! The source of every value and every problem.

use millpond_config::{Refusal, Settings};

use crate::{bare, env, file, problem, toml};

#[test]
fn a_value_out_of_range_names_its_source_in_every_layer() {
    let path = file("# A comment.\n\n[db]\nmax_overflow = 101\n");
    let error = bare()
        .file(&path)
        .environment([("PSN_DB_POOL_SIZE", "51")])
        .set("db.pool_timeout", 301)
        .load()
        .unwrap_err();
    let found = problem(&error, "db.max_overflow");
    assert_eq!(found.source, format!("`{}`, line 4", path.display()));
    assert_eq!(
        (found.value.as_deref(), found.message.as_str()),
        (Some("101"), "is out of range: expected 0-100")
    );
    assert!(found.help.ends_with("lift the ranges with limits = \"off\" under [db]"), "{found}");
    let found = problem(&error, "db.pool_size");
    assert_eq!(found.source, "environment variable `PSN_DB_POOL_SIZE`");
    assert_eq!(
        (found.value.as_deref(), found.message.as_str()),
        (Some("51"), "is out of range: expected 1-50")
    );
    assert!(found.help.ends_with("lift the ranges with PSN_DB_LIMITS=off"), "{found}");
    let found = problem(&error, "db.pool_timeout");
    assert_eq!((found.source.as_str(), found.value.as_deref()), ("code", Some("301")));
    assert!(found.help.ends_with("lift the ranges with .set(\"db.limits\", \"off\")"), "{found}");
    assert_eq!(error.problems.len(), 3);
}

#[test]
fn one_report_holds_every_problem_of_every_layer() {
    let path = file(
        "pool_size = 1\n[db]\nmax_overfow = 1\nreset = 'sesion'\n[redis]\n\
         max_connections = 5\n[dbs]\n",
    );
    let error = bare()
        .file(path)
        .environment([
            ("PSN_DB_POOL_SIZE", "ten"),
            ("PSN_DB_POOL_TIMEOT", "1"),
            ("PSN_CACHE_URL_FILE", "/no/such"),
        ])
        .set("db.bogus_setting", 1)
        .preset("none such")
        .load()
        .unwrap_err();
    let settings: Vec<_> = error.problems.iter().map(|problem| problem.setting.as_str()).collect();
    let mut expected = [
        "pool_size",
        "db.max_overfow",
        "dbs",
        "PSN_DB_POOL_TIMEOT",
        "cache.url",
        "db.bogus_setting",
        "preset",
        "db.reset",
        "db.pool_size",
        "redis.max_connections",
    ];
    expected.sort();
    let mut sorted = settings.clone();
    sorted.sort();
    assert_eq!(sorted, expected);
    assert_eq!(error.to_string().lines().count(), expected.len());
}

#[test]
fn a_misspelt_key_of_a_file_gets_a_line_and_a_suggestion() {
    for (text, setting, line, help) in [
        ("[db]\npool_sise = 3", "db.pool_sise", 2, "did you mean `pool_size`?"),
        ("[db]\npoolsize = 3", "db.poolsize", 2, "did you mean `pool_size`?"),
        (
            "[storage]\nurl = 'x'",
            "storage.url",
            2,
            "did you mean `connection_string` under `[storage]`?",
        ),
        ("[db]\nurl = 'x'", "db.url", 2, "did you mean `connection_string` under `[storage]`?"),
        (
            "database_url = 'x'",
            "database_url",
            1,
            "did you mean `connection_string` under `[storage]`?",
        ),
        ("[cache]\nurll = 'x'", "cache.urll", 2, "did you mean `url`?"),
        ("\n\nprest = 'small'", "prest", 3, "did you mean `preset`?"),
        ("[bd]\npool_size = 3", "bd", 1, "did you mean `[db]`?"),
        ("[storag]", "storag", 1, "did you mean `[storage]`?"),
        ("pool_size = 3", "pool_size", 1, "did you mean `pool_size` under `[db]`?"),
        ("'db.pool_size' = 3", "db.pool_size", 1, "did you mean `pool_size` under `[db]`?"),
        (
            "storage.conection_string = 'x'",
            "storage.conection_string",
            1,
            "did you mean `connection_string`?",
        ),
        (
            "db = { pool_size = 3, pre_ping = true }",
            "db.pre_ping",
            1,
            "did you mean `pool_pre_ping`?",
        ),
        (
            "[redis]\nnodes = []",
            "redis.nodes",
            2,
            "[redis] holds `url`, `max_connections`, `tcp_keepalive`, `tcp_user_timeout`",
        ),
    ] {
        let error = toml(text).load().unwrap_err();
        let found = problem(&error, setting);
        assert_eq!(error.problems.len(), 1, "{error}");
        assert_eq!((found.message.as_str(), found.value.as_deref()), ("is not a setting", None));
        assert!(found.source.ends_with(&format!("line {line}")), "{found}");
        assert_eq!(found.help, help);
    }
}

#[test]
fn a_misspelt_setting_in_code_gets_a_suggestion() {
    let error = bare().set("db.pool_sise", 1).load().unwrap_err();
    let found = problem(&error, "db.pool_sise");
    assert_eq!(
        (found.source.as_str(), found.help.as_str()),
        ("code", "did you mean `db.pool_size`?")
    );
    let error = bare().set("storage.url", "x").load().unwrap_err();
    assert_eq!(problem(&error, "storage.url").help, "did you mean `storage.connection_string`?");
}

#[test]
fn a_refused_connection_string_is_in_the_same_report_with_its_source() {
    let refuse = |loader: millpond_config::Loader| {
        let refusal = |settings: &Settings| {
            let setting = "storage.connection_string";
            let refusal = || Refusal {
                setting,
                message: "is refused".to_owned(),
                help: "change it".to_owned(),
            };
            let refusals: Vec<_> =
                settings.storage.connection_string.iter().map(|_| refusal()).collect();
            if refusals.is_empty() { Ok(()) } else { Err(refusals) }
        };
        loader.load_with(refusal)
    };
    let error = refuse(toml("[storage]\nconnection_string = 'hunter2'\n[db]\npool_size = 0\n"))
        .unwrap_err();
    let found = problem(&error, "storage.connection_string");
    assert!(found.source.ends_with("line 2") && found.value.is_none(), "{found}");
    assert_eq!((found.message.as_str(), found.help.as_str()), ("is refused", "change it"));
    assert_eq!(error.problems.len(), 2, "{error}");
    assert!(refuse(bare()).is_ok(), "there is nothing to refuse");
    // A text that is no connection string is one problem, not two.
    let error = refuse(env([("PSN_STORAGE_CONNECTION_STRING", "")])).unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
}

#[test]
fn a_main_that_returns_the_error_prints_one_problem_a_line() {
    let error = bare().set("db.pool_size", 0).set("db.max_overflow", 101).load().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    assert_eq!(error.to_string().lines().count(), 2);
}

#[test]
fn several_syntax_errors_are_each_named_with_their_line() {
    let error =
        toml("[db]\npool_size = = 3\nmax_overflow = 3\npool_timeout = ten\n").load().unwrap_err();
    let lines: Vec<_> =
        error.problems.iter().map(|it| it.source.rsplit(' ').next().unwrap()).collect();
    assert_eq!(lines, ["2", "4"], "{error}");
}

#[test]
fn a_malformed_size_does_not_draw_a_second_problem_from_what_depends_on_it() {
    let error = toml("[db]\npool_size = 'forty'\nmin_idle = 30\n").load().unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
    let error = toml("[db]\npool_size = 20\nmin_idle = 30\n").load().unwrap_err();
    let found = problem(&error, "db.min_idle");
    assert!(found.message.contains("pool_size") && found.message.contains("20"), "{found}");
}

#[test]
fn the_problem_of_a_value_of_the_wrong_form_names_the_form_and_the_range() {
    let error = env([
        ("PSN_DB_POOL_SIZE", "ten"),
        ("PSN_DB_PING_TIMEOUT", "-1"),
        ("PSN_REDIS_MAX_CONNECTIONS", "x"),
    ])
    .load()
    .unwrap_err();
    assert!(
        problem(&error, "db.pool_size").message.ends_with("expected a whole number (1-50)"),
        "{error}"
    );
    assert!(problem(&error, "db.ping_timeout").message.ends_with("(1ms to 300s)"), "{error}");
    assert!(problem(&error, "redis.max_connections").message.ends_with("(10-200)"), "{error}");
    let error = env([("PSN_DB_RESET", "sesion")]).load().unwrap_err();
    assert_eq!(problem(&error, "db.reset").help, "did you mean `session`?");
}

#[test]
fn a_refused_size_is_not_blamed_again_for_an_impossible_sum() {
    let error = toml("[db]\nlimits = 'off'\npool_size = 'ten'\nmax_overflow = 2_000_000\n")
        .load()
        .unwrap_err();
    assert_eq!(problem(&error, "db.pool_size").value.as_deref(), Some("ten"));
}

#[test]
fn a_required_setting_that_no_layer_sets_is_reported_with_its_names() {
    let loader =
        toml("[db]\npool_size = 0\n").require("storage.connection_string").require("db.pool_sise");
    let error = loader.load().unwrap_err();
    let found = problem(&error, "storage.connection_string");
    assert_eq!(
        found.help,
        "set `PSN_STORAGE_CONNECTION_STRING`, or `connection_string` under [storage]"
    );
    assert_eq!(problem(&error, "db.pool_sise").help, "did you mean `db.pool_size`?");
    assert_eq!(error.problems.len(), 3, "{error}");
    assert!(env([("PSN_REDIS_URL", "redis://h")]).require("redis.url").load().is_ok());
    // A setting that is set to an invalid value is one problem, not two.
    let error = env([("PSN_REDIS_URL_FILE", "/no/such")]).require("redis.url").load().unwrap_err();
    assert_eq!(error.problems.len(), 1, "{error}");
}
