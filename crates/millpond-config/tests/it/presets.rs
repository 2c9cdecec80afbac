//! The presets, value by value, and how a preset is selected.

use std::time::Duration;

use crate::{bare, env, file, problem, toml};

#[test]
fn every_preset_holds_its_values() {
    // Size, overflow, timeout, recycling, cache; the last two are defaults where the preset does
    // not set them.
    for (preset, size, overflow, timeout, recycle, cache) in [
        ("production", 25, 50, 30, 1800, 50),
        ("development", 5, 10, 10, 3600, 50),
        ("batch", 15, 30, 120, 7200, 50),
        ("small", 10, 20, 30, 3600, 50),
        ("medium", 25, 50, 30, 3600, 100),
        ("large", 50, 100, 60, 3600, 200),
    ] {
        let settings = bare().preset(preset).load().unwrap();
        let pool = &settings.db.pool;
        assert_eq!((pool.pool_size, pool.max_overflow), (size, overflow), "{preset}");
        assert_eq!(pool.pool_timeout, Duration::from_secs(timeout), "{preset}");
        assert_eq!(pool.pool_recycle, Some(Duration::from_secs(recycle)), "{preset}");
        assert_eq!(
            (settings.cache.max_connections, settings.redis.max_connections),
            (cache, 20),
            "{preset}"
        );
        assert!(pool.pool_pre_ping, "{preset}");
        assert_eq!(settings.preset.as_deref(), Some(preset));
    }
}

#[test]
fn code_chooses_the_preset_over_the_environment_and_that_over_the_file() {
    let path = file("preset = 'small'\n");
    let loader = bare().file(path);
    assert_eq!(loader.clone().load().unwrap().preset.as_deref(), Some("small"));
    let loader = loader.environment([("PSN_PRESET", "medium")]);
    assert_eq!(loader.clone().load().unwrap().preset.as_deref(), Some("medium"));
    let settings = loader.preset("large").load().unwrap();
    assert_eq!((settings.preset.as_deref(), settings.db.pool.pool_size), (Some("large"), 50));
}

#[test]
fn the_file_overrides_a_preset_even_if_code_selects_it() {
    let settings = toml("[db]\npool_size = 7\n").preset("production").load().unwrap();
    assert_eq!((settings.db.pool.pool_size, settings.db.pool.max_overflow), (7, 50));
}

#[test]
fn an_unknown_preset_is_an_error_that_lists_them_all() {
    for name in ["prod", "", "Production", "none"] {
        let error = env([("PSN_PRESET", name)]).load().unwrap_err();
        let found = problem(&error, "preset");
        for known in ["production", "development", "batch", "small", "medium", "large"] {
            assert!(found.message.contains(&format!("`{known}`")), "{found}");
        }
        assert!(found.source.contains("PSN_PRESET"), "{found}");
    }
    let error = bare().preset("prodution").load().unwrap_err();
    assert_eq!(problem(&error, "preset").help, "did you mean `production`?");
}
