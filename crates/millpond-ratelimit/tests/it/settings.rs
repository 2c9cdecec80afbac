//! All problems of the settings are reported at once, with their variables and how to fix them.

use millpond_ratelimit::{
    CentralizedStateStorage, ConcurrencyLimiter, Limit, OnOutage, RateLimiter, StorageOptions,
};
use std::time::Duration;

fn from(pairs: &[(&str, &str)]) -> Result<CentralizedStateStorage, String> {
    let variable = |name: &str| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    CentralizedStateStorage::from_variables(variable).map_err(|error| error.to_string())
}

#[test]
fn the_variables_of_the_guide_are_read() {
    let text = format!("{:?}", from(&[("PSN_REDIS_URL", "redis://localhost:6379/1")]).unwrap());
    assert!(text.contains("ratelimit"), "{text}");
    from(&[("PSN_REDIS_URL", "redis://:hunter2@localhost"), ("PSN_REDIS_MAX_CONNECTIONS", "200")])
        .unwrap();
    let times = [("PSN_REDIS_TCP_KEEPALIVE", "off"), ("PSN_REDIS_TCP_USER_TIMEOUT", "3601")];
    let text = from(&[&times[..], &[("PSN_REDIS_URL", "redis://h")]].concat()).unwrap_err();
    assert!(text.contains("PSN_REDIS_TCP_USER_TIMEOUT") && !text.contains("KEEPALIVE"), "{text}");
}

#[test]
fn all_problems_are_reported_at_once_with_their_variables_and_without_secrets() {
    let text = from(&[]).unwrap_err();
    assert!(
        text.contains("redis.url") && text.contains("is not set") && text.contains("PSN_REDIS_URL"),
        "{text}"
    );
    let text =
        from(&[("PSN_REDIS_URL", "redsi://:hunter2@h"), ("PSN_REDIS_MAX_CONNECTIONS", "many")])
            .unwrap_err();
    assert!(
        text.contains("PSN_REDIS_URL")
            && text.contains("PSN_REDIS_MAX_CONNECTIONS")
            && text.contains("many"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    let text =
        from(&[("PSN_REDIS_URL", "redis://h"), ("PSN_REDIS_MAX_CONNECTIONS", "5")]).unwrap_err();
    assert!(text.contains("PSN_REDIS_MAX_CONNECTIONS") && text.contains("10-200"), "{text}");
    let options = StorageOptions::new()
        .max_connections(9)
        .timeout(Duration::ZERO)
        .prefix("a{b")
        .on_outage(OnOutage::Local { keys: 0 });
    let text = options.connect_lazy("redis://h").unwrap_err().to_string();
    for wanted in ["max_connections = 9", "timeout = 0ns", "prefix = \"a{b\"", "keys = 0"] {
        assert!(text.contains(wanted), "{text}");
    }
}

#[test]
fn files_presets_and_limits_apply_as_for_other_settings() {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("ratelimit-url");
    std::fs::write(&path, "redis://:hunter2@localhost\r\n").unwrap();
    let path = path.to_str().unwrap();
    from(&[("PSN_REDIS_URL_FILE", path)]).unwrap();
    let text = from(&[("PSN_REDIS_URL_FILE", path), ("PSN_REDIS_URL", "redis://h")]).unwrap_err();
    assert!(text.contains("keep either"), "{text}");
    let few = [("PSN_REDIS_URL", "redis://h"), ("PSN_REDIS_MAX_CONNECTIONS", "1")];
    assert!(from(&few).is_err());
    from(&[few[0], few[1], ("PSN_DB_LIMITS", "off")]).unwrap();
    let text = from(&[few[0], ("PSN_PRESET", "lareg")]).unwrap_err();
    assert!(text.contains("did you mean `large`?"), "{text}");
    let text = from(&[("PSN_REDIS_URL", "redis://::1")]).unwrap_err();
    assert!(text.contains("PSN_REDIS_URL") && text.contains("in brackets"), "{text}");
}

#[test]
fn a_name_that_cannot_be_part_of_a_key_is_refused() {
    let storage = StorageOptions::new().connect_lazy("redis://h").unwrap();
    let limit = Limit::per_second(1).unwrap();
    assert!(RateLimiter::new(&storage, "a b", limit).is_err());
    assert!(RateLimiter::new(&storage, "", limit).is_err());
    let limiter = RateLimiter::new(&storage, "a", limit).unwrap();
    assert!(limiter.clone().and("a", limit).is_err());
    assert!(limiter.replace_limit("b", limit).is_err());
    assert!(ConcurrencyLimiter::new(&storage, "a", 0, Duration::from_secs(1)).is_err());
}
