//! Secrets are loaded unchanged and never shown.

use millpond_config::{Loader, Secret, Settings};

use crate::{bare, env, file, problem, toml};

const CANARY: &str = "c4n4ry-h00t";

/// Contents that a parser might try to interpret.
const AWKWARD: [&str; 14] = [
    "12345", "007", "true", "\"q\"", "x y", "off", "nan", "[1]", "{a=1}", "'", "a\\nb", "$HOME",
    "é✓", "#x",
];

#[test]
fn a_secret_arrives_unchanged_from_every_layer() {
    for content in AWKWARD {
        let expected = Some(Secret::new(content));
        let settings = env([("PSN_STORAGE_CONNECTION_STRING", content)]).load().unwrap();
        assert_eq!(settings.storage.connection_string, expected, "variable {content:?}");
        assert_eq!(settings.storage.connection_string.unwrap().expose(), content);
        let path = file(format!("{content}\n"));
        let settings = env([("PSN_REDIS_URL_FILE", path.to_str().unwrap())]).load().unwrap();
        assert_eq!(settings.redis.url, expected, "file {content:?}");
        let quoted = content
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
            .replace('\t', "\\t");
        let settings = toml(&format!("[cache]\nurl = \"{quoted}\"\n")).load().unwrap();
        assert_eq!(settings.cache.url, expected, "toml {content:?}");
        let settings = bare().set("cache.url", content).load().unwrap();
        assert_eq!(settings.cache.url, expected, "code {content:?}");
    }
}

/// Returns a loader for each layer with this text as a URL.
fn of_every_layer(content: &str) -> [Loader; 4] {
    let path = file(content);
    let quoted = content
        .replace('\r', "\\r")
        .replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('\u{0}', "\\u0000");
    [
        env([("PSN_CACHE_URL", content)]),
        env([("PSN_CACHE_URL_FILE", path.to_str().unwrap())]),
        toml(&format!("[cache]\nurl = \"{quoted}\"\n")),
        bare().set("cache.url", content),
    ]
}

#[test]
fn one_line_break_at_the_end_of_a_url_is_removed_in_every_layer() {
    for end in ["", "\n", "\r\n", "\r"] {
        for loader in of_every_layer(&format!("redis://:p@h/0{end}")) {
            assert_eq!(
                loader.load().unwrap().cache.url,
                Some(Secret::new("redis://:p@h/0")),
                "{end:?}"
            );
        }
    }
    let path = file("redis://h\n");
    let settings = env([("PSN_CACHE_URL_FILE", format!("{}\n", path.to_str().unwrap()).as_str())])
        .load()
        .unwrap();
    assert_eq!(settings.cache.url, Some(Secret::new("redis://h")));
    let settings = env([("PSN_CACHE_URL_FILE", file("\u{feff}redis://h\r\n").to_str().unwrap())])
        .load()
        .unwrap();
    assert_eq!(settings.cache.url, Some(Secret::new("redis://h")));
}

#[test]
fn a_url_with_blanks_or_invisible_characters_is_refused_with_help() {
    for content in [
        " x",
        "x ",
        "x\t",
        "x\n\n",
        "\nx",
        "x \n",
        "postgres://u:c4n4ry-h00t\n@h/d",
        "x\u{200b}",
        "x\u{a0}",
        "x\u{0}y",
    ] {
        for (layer, loader) in of_every_layer(content).into_iter().enumerate() {
            let error = loader.load().unwrap_err();
            let found = problem(&error, "cache.url");
            assert!(
                found.message.contains("blank") && found.help.contains("%20"),
                "{layer} {content:?}: {found}"
            );
            hides_the_canary(&error.to_string());
        }
    }
    for content in ["\n", " ", "\r\n"] {
        for loader in of_every_layer(content) {
            let error = loader.load().unwrap_err();
            assert!(
                problem(&error, "cache.url").message.contains("is empty"),
                "{content:?}: {error}"
            );
        }
    }
}

#[test]
fn a_line_break_after_any_other_value_is_removed() {
    for end in ["\n", "\r\n", "\r"] {
        let (preset, reset) = (format!("production{end}"), format!("session{end}"));
        let settings = env([("PSN_PRESET", &preset), ("PSN_DB_RESET", &reset)]).load().unwrap();
        assert_eq!(
            (settings.db.pool.pool_size, settings.preset.as_deref()),
            (25, Some("production")),
            "{end:?}"
        );
        let preset = file(format!("batch{end}"));
        let settings = env([("PSN_PRESET_FILE", preset.to_str().unwrap())]).load().unwrap();
        assert_eq!(settings.db.pool.pool_size, 15, "{end:?}");
        assert_eq!(settings.explain().row("db.pool_size").unwrap().source, "preset `batch`");
    }
}

#[test]
fn a_loaded_secret_is_shown_nowhere() {
    for url in [
        format!("postgresql://user:{CANARY}@localhost/db"),
        format!("mysql://user:p@{CANARY}/x@localhost/db?sslmode=require"),
        format!("redis://:{CANARY}@h/0"),
        format!("redis://{CANARY}@h/0"),
        format!("postgres://h/db?password={CANARY}"),
        format!("postgres://user:{CANARY}"),
        format!("host=h password={CANARY}"),
        format!("oracle://u:{CANARY}@h"),
        CANARY.to_owned(),
    ] {
        let loader = bare()
            .environment([("PSN_STORAGE_CONNECTION_STRING", &url)])
            .set("redis.url", url.as_str());
        hides_the_canary(&format!("{loader:?}"));
        let settings = loader.load().unwrap();
        assert_eq!(
            settings.storage.connection_string.as_ref().map(Secret::expose),
            Some(url.as_str())
        );
        hides_the_canary(&format!("{settings:?} {settings:#?}"));
        hides_the_canary(&format!("{} {:?}", settings.explain(), settings.explain()));
        hides_the_canary(&settings.storage.connection_string.unwrap().to_string());
        hides_the_canary(&format!("{:?}", millpond_config::Value::from(url)));
    }
}

#[test]
fn a_secret_of_the_wrong_type_is_not_shown() {
    for value in [
        "1234567890",
        "1.234567890e3",
        "[1234567890]",
        "{ x = 1234567890 }",
        "2027-12-31T12:34:56.1234567890Z",
    ] {
        let error = toml(&format!("[storage]\nconnection_string = {value}\n")).load().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("storage.connection_string") && text.contains("line 2"), "{text}");
        assert!(!text.contains("234567890"), "{text}");
        assert_eq!(error.problems[0].value, None);
    }
    let error = bare().set("redis.url", 1_234_567_890).load().unwrap_err();
    assert!(!format!("{error:?}").contains("1234567890"), "{error}");
}

#[test]
fn a_syntax_error_does_not_quote_the_file() {
    for text in [
        format!("[storage]\nconnection_string = postgresql://user:{CANARY}@localhost/db\n"),
        format!("[storage]\nconnection_string = {CANARY}\n"),
        format!("[storage]\nconnection_string = \"{CANARY}\n"),
        format!("[storage]\nconnection_string = '{CANARY}\n"),
        format!("[storage]\nconnection_string = \"{CANARY}\\q\"\n"),
        format!("[storage]\nconnection_string = \"{CANARY}\" {CANARY}\n"),
        format!("[storage]\nconnection_string \"{CANARY}\"\n"),
        format!("[storage\nconnection_string = \"{CANARY}\"\n"),
        format!("[storage]\nconnection_string = \"{CANARY}\"\nconnection_string = \"{CANARY}\"\n"),
        CANARY.to_owned(),
        format!("{CANARY} = 1\n{CANARY} = 2\n"),
        format!("[{CANARY}]\n[{CANARY}]\n"),
        format!("a = \"\"\"{CANARY}"),
        format!("x = 1\n[x.\"{CANARY}\"]\n"),
    ] {
        let error = toml(&text).load().unwrap_err();
        assert!(error.to_string().contains("is not TOML"), "{error}");
        hides_the_canary(&format!("{error} {error:?}"));
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    let url = format!("postgresql://user:{CANARY}@localhost/db");
    for loader in [
        toml(&format!("[storage]\nconection_string = '{url}'\n")),
        toml(&format!("'{url}' = 1\n")),
        toml(&format!("storage = '{url}'\n")),
        toml(&format!("[storage.connection_string]\nurl = '{url}'\n")),
        toml(&format!("[db]\npool_size = '{url}'\nreset = '{url}'\npool = 'user:{CANARY}@h'\n")),
        toml(&format!("preset = '{url}'\n")),
        env([("PSN_STORAGE_CONECTION_STRING", &url)]),
        env([("PSN_STORAGE_CONNECTION_STRING_FILE", &url)]),
        env([("PSN_DB_PASSWORD", CANARY)]),
        env([("PSN_DB_POOL_SIZE", &format!("host=h password={CANARY}"))]),
        bare().set(url.as_str(), 1),
        bare().file(url.as_str()),
        bare().preset(url.as_str()),
    ] {
        let error = loader.load().unwrap_err();
        hides_the_canary(&format!("{error} {error:?}"));
    }
}

#[test]
fn an_error_elsewhere_shows_no_valid_secret() {
    let error = Loader::new()
        .file(file(format!("[db]\npool_size = 0\n[redis]\nurl = 'redis://:{CANARY}@h'\n")))
        .environment([("PSN_STORAGE_CONNECTION_STRING", CANARY)])
        .load()
        .unwrap_err();
    assert_eq!(error.problems.len(), 1);
    hides_the_canary(&format!("{error} {error:?}"));
}

#[test]
fn an_empty_secret_is_an_error() {
    let path = file("\n");
    for loader in [
        env([("PSN_REDIS_URL", "")]),
        env([("PSN_REDIS_URL_FILE", path.to_str().unwrap())]),
        toml("[redis]\nurl = ''\n"),
    ] {
        let error = loader.load().unwrap_err();
        assert!(error.problems[0].message.starts_with("is empty"), "{error}");
    }
}

#[test]
fn errors_and_settings_can_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Settings>();
    crosses::<Loader>();
    crosses::<millpond_config::SettingsError>();
}

#[track_caller]
fn hides_the_canary(text: &str) {
    assert!(!text.contains(CANARY), "{text}");
}
