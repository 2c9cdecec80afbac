//! Variables: the common settings, all others, prefixes, files, and variables of other programs.

use std::ffi::OsString;
use std::time::Duration;

use millpond_config::Secret;

use crate::{bare, env, file, problem};

#[test]
fn the_usual_variables_work_as_written() {
    let settings = env([
        ("PSN_STORAGE_CONNECTION_STRING", "postgresql://user:pass@localhost/dbname"),
        ("PSN_DB_POOL_SIZE", "20"),
        ("PSN_DB_MAX_OVERFLOW", "40"),
        ("PSN_DB_POOL_TIMEOUT", "60"),
        ("PSN_REDIS_URL", "redis://localhost:6379/1"),
        ("PSN_REDIS_MAX_CONNECTIONS", "30"),
    ])
    .load()
    .unwrap();
    assert_eq!(
        settings.storage.connection_string,
        Some(Secret::new("postgresql://user:pass@localhost/dbname"))
    );
    assert_eq!((settings.db.pool.pool_size, settings.db.pool.max_overflow), (20, 40));
    assert_eq!(settings.db.pool.pool_timeout, Duration::from_secs(60));
    assert_eq!(settings.redis.url, Some(Secret::new("redis://localhost:6379/1")));
    assert_eq!((settings.redis.max_connections, settings.cache.max_connections), (30, 50));
}

#[test]
fn every_setting_has_a_variable() {
    let rows = bare().load().unwrap().explain().rows.clone();
    for row in rows {
        let name = format!("PSN_{}", row.setting.replace('.', "_").to_uppercase());
        let text = match row.setting {
            "preset" => "small",
            "storage.connection_string" | "redis.url" | "cache.url" => "redis://h",
            _ => row.value.as_str(),
        };
        let settings = bare().environment([(&name, text)]).load().unwrap();
        assert_eq!(
            settings.explain().row(row.setting).unwrap().source,
            format!("environment variable `{name}`")
        );
    }
}

#[test]
fn times_and_flags_are_read_as_people_write_them() {
    for (written, time) in
        [("60", 60_000), ("1.5", 1500), ("1500ms", 1500), ("2m", 120_000), (" 5s\n", 5000)]
    {
        let settings = env([("PSN_DB_POOL_TIMEOUT", written)]).load().unwrap();
        assert_eq!(settings.db.pool.pool_timeout, Duration::from_millis(time), "{written}");
    }
    for (written, flag) in
        [("TRUE", true), ("1", true), ("Yes", true), ("off", false), ("0", false), ("No", false)]
    {
        let settings = env([("PSN_DB_POOL_PRE_PING", written)]).load().unwrap();
        assert_eq!(settings.db.pool.pool_pre_ping, flag, "{written}");
    }
}

#[test]
fn another_prefix_replaces_the_usual_one() {
    let variables =
        [("SHOP_DB_POOL_SIZE", "7"), ("PSN_DB_POOL_SIZE", "8"), ("PSN_DB_BOGUS_BOGUS", "x")];
    let settings = env(variables).prefix("SHOP_").load().unwrap();
    assert_eq!(settings.db.pool.pool_size, 7);
    assert_eq!(
        env([("DB_POOL_SIZE", "9"), ("HOME", "/")]).prefix("").load().unwrap().db.pool.pool_size,
        9
    );
}

#[test]
fn variables_that_kubernetes_sets_with_the_prefix_are_ignored() {
    let settings = env([
        ("PSN_REDIS_SERVICE_HOST", "10.0.0.11"),
        ("PSN_REDIS_SERVICE_PORT", "6379"),
        ("PSN_REDIS_SERVICE_PORT_REDIS", "6379"),
        ("PSN_REDIS_PORT", "tcp://10.0.0.11:6379"),
        ("PSN_REDIS_PORT_6379_TCP", "tcp://10.0.0.11:6379"),
        ("PSN_REDIS_PORT_6379_TCP_PROTO", "tcp"),
        ("PSN_REDIS_PORT_6379_TCP_PORT", "6379"),
        ("PSN_REDIS_PORT_6379_TCP_ADDR", "10.0.0.11"),
        ("PSN_DB_PORT", "tcp://10.0.0.12:5432"),
        ("PSN_DB_PORT_5432_TCP", "tcp://10.0.0.12:5432"),
        ("PSN_DB_PORT_5432_UDP_ADDR", "10.0.0.12"),
        ("PSN_DB_POOL_SIZE", "7"),
    ]);
    assert_eq!(settings.load().unwrap().db.pool.pool_size, 7);
    assert!(env([("PSN_REDIS_PORT", "6379")]).load().is_err(), "it was meant for us");
}

#[test]
fn a_misspelt_variable_is_an_error_with_a_suggestion() {
    for (name, meant) in [
        ("PSN_DB_POOL_SISE", "PSN_DB_POOL_SIZE"),
        ("PSN_DB_POOLSIZE", "PSN_DB_POOL_SIZE"),
        ("psn_db_pool_size", "PSN_DB_POOL_SIZE"),
        ("PSN_POOL_SIZE", "PSN_DB_POOL_SIZE"),
        ("PSN_STORAGE_CONECTION_STRING", "PSN_STORAGE_CONNECTION_STRING"),
        ("PSN_REDIS_ULR_FILE", "PSN_REDIS_URL_FILE"),
        ("PSN_PREST", "PSN_PRESET"),
    ] {
        let error = env([(name, "hunter2")]).load().unwrap_err();
        let found = problem(&error, name);
        assert_eq!(found.help, format!("did you mean `{meant}`?"));
        assert!(found.source.contains(name), "{found}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn variables_of_the_program_itself_are_ignored() {
    let variables = [
        ("PSN_LOG_LEVEL", "debug"),
        ("PSN_URL", "x"),
        ("PSN_", ""),
        ("PATH", "/bin"),
        ("DB_POOL_SIZE", "x"),
    ];
    assert!(env(variables).load().is_ok());
    let ours = [("PSN_DB_BACKUP_DIR", "/x"), ("PSN_STORAGE_BACKEND", "s3")];
    assert_eq!(env(ours).load().unwrap_err().problems.len(), 2);
    assert!(env(ours).foreign("PSN_DB_BACKUP_").foreign("PSN_STORAGE_BACKEND").load().is_ok());
}

#[test]
fn a_foreign_prefix_does_not_hide_a_setting() {
    let settings = env([("PSN_DB_POOL_SIZE", "7")]).foreign("PSN_").load().unwrap();
    assert_eq!(settings.db.pool.pool_size, 7);
}

#[test]
fn a_variable_can_name_a_file_with_the_value() {
    let (url, size) = (file("redis://:p@h\n"), file("12\n"));
    let variables = [
        ("PSN_REDIS_URL_FILE", url.to_str().unwrap()),
        ("PSN_DB_POOL_SIZE_FILE", size.to_str().unwrap()),
    ];
    let settings = env(variables).load().unwrap();
    assert_eq!(settings.redis.url, Some(Secret::new("redis://:p@h")));
    assert_eq!(settings.db.pool.pool_size, 12);
}

#[test]
fn a_file_that_cannot_be_read_names_the_variable_and_the_path() {
    let (binary, long) = (file(b"\xff\xfe"), file(vec![b'x'; 70_000]));
    let huge = "x".repeat(100_000);
    for (path, reason) in [
        ("/no/such/file", "No such file"),
        ("/", "directory"),
        ("", "No such file"),
        (binary.to_str().unwrap(), "not UTF-8"),
        (long.to_str().unwrap(), "longer than"),
        ("/dev/zero", "longer than"),
        (&huge, "too long"),
    ] {
        let error = env([("PSN_STORAGE_CONNECTION_STRING_FILE", path)]).load().unwrap_err();
        let found = problem(&error, "storage.connection_string");
        assert!(found.source.contains("PSN_STORAGE_CONNECTION_STRING_FILE"), "{found}");
        let shown: String = path.chars().take(120).collect();
        assert!(found.message.contains(&shown) && found.message.contains(reason), "{found}");
        assert!(found.to_string().len() < 600, "{found}");
    }
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let pipe = file("");
    std::fs::remove_file(&pipe).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let path = pipe.to_str().unwrap();
    let error = env([("PSN_STORAGE_CONNECTION_STRING_FILE", path)]).load().unwrap_err();
    let found = problem(&error, "storage.connection_string");
    assert!(found.message.ends_with("it is a pipe, not a file"), "{found}");
    let error = bare().file(&pipe).load().unwrap_err();
    assert!(error.to_string().contains("it is a pipe, not a file"), "{error}");
}

// The path of `<(..)` in a shell.
#[cfg(unix)]
#[test]
fn an_anonymous_pipe_is_read_like_a_file() {
    use std::os::fd::AsRawFd;
    let piped = |text: &str| {
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, text.as_bytes()).unwrap();
        (format!("/dev/fd/{}", reader.as_raw_fd()), reader)
    };
    let (path, _open) = piped("redis://h\n");
    let settings = env([("PSN_REDIS_URL_FILE", path.as_str())]).load().unwrap();
    assert_eq!(settings.redis.url, Some(Secret::new("redis://h")));
    let (path, _open) = piped("[db]\npool_size = 7\n");
    assert_eq!(bare().file(path).load().unwrap().db.pool.pool_size, 7);
}

#[test]
fn a_value_and_its_file_at_once_are_an_error() {
    let path = file("redis://h\n");
    let variables =
        [("PSN_REDIS_URL", "redis://i"), ("PSN_REDIS_URL_FILE", path.to_str().unwrap())];
    let error = env(variables).load().unwrap_err();
    assert_eq!(
        problem(&error, "PSN_REDIS_URL_FILE").help,
        "keep either `PSN_REDIS_URL` or `PSN_REDIS_URL_FILE`"
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_an_error_and_a_foreign_name_is_not() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let error =
        bare().environment([(bytes(b"PSN_REDIS_URL"), bytes(b"redis://\xff"))]).load().unwrap_err();
    let found = problem(&error, "redis.url");
    assert!(
        found.message.contains("not UTF-8") && found.source.contains("PSN_REDIS_URL"),
        "{found}"
    );
    assert!(bare().environment([(bytes(b"\xff"), bytes(b"\xff"))]).load().is_ok());
    assert!(bare().environment([(bytes(b"PSN_DB_\xff"), bytes(b"x"))]).load().is_err());
}
