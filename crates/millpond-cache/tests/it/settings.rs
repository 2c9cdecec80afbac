//! All problems of the settings are reported at once, with how to fix them.

use millpond_cache::RedisCache;
use std::time::Duration;

#[test]
fn all_problems_are_reported_at_once_without_secrets() {
    let builder = RedisCache::builder()
        .url("redsi://:hunter2@h")
        .max_connections(500)
        .namespace("a b")
        .prefix("")
        .ttl(Duration::ZERO)
        .ttl_jitter(60)
        .loads_max(0)
        .timeout(Duration::from_secs(600));
    assert!(!format!("{builder:?}").contains("hunter2"));
    let text = builder.connect_lazy().unwrap_err().to_string();
    for wanted in [
        "redis://",
        "max_connections = 500",
        "\"a b\"",
        "prefix = \"\"",
        "ttl = 0ns",
        "ttl_jitter = 60",
        "loads_max = 0",
        "timeout = 600s",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_source_of_a_setting_is_shown_once() {
    let text = RedisCache::builder().connect_lazy().unwrap_err().to_string();
    assert!(text.contains("redis://localhost:6379/0"), "{text}");
    let text = RedisCache::builder()
        .url("redis://h")
        .startup_nodes([("h", 7000)])
        .connect_lazy()
        .unwrap_err()
        .to_string();
    assert!(text.contains("leave one of them"), "{text}");
    RedisCache::builder()
        .startup_nodes([("node1", 7000), ("node2", 7001)])
        .max_connections(150)
        .connect_lazy()
        .unwrap();
}
