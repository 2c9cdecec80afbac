//! Defaults < preset < file < environment < code.

use std::time::Duration;

use millpond_config::{Secret, Settings};
use millpond_settings::{Limits, PoolConfig, PoolKind, Pooler, ResetLevel};

use crate::{bare, env, file, toml};

#[test]
fn without_any_layer_the_defaults_apply() {
    let settings = bare().load().unwrap();
    assert_eq!(settings.db.pool, PoolConfig::default());
    assert_eq!((settings.db.reset, settings.db.kind), (ResetLevel::Transaction, None));
    assert_eq!((settings.redis.max_connections, settings.cache.max_connections), (20, 50));
    assert_eq!((settings.preset, settings.storage.connection_string), (None, None));
    assert_eq!((settings.redis.url, settings.cache.url), (None, None));
}

#[test]
fn each_layer_overrides_the_ones_below_it_one_setting_at_a_time() {
    let path = file(
        "preset = 'production'\n[db]\nmax_overflow = 1\npool_timeout = 11\npool_recycle = 1111\n",
    );
    let variables = [("PSN_DB_POOL_TIMEOUT", "22"), ("PSN_DB_POOL_RECYCLE", "2222")];
    let settings =
        bare().file(path).environment(variables).set("db.pool_recycle", 3333).load().unwrap();
    let pool = settings.db.pool;
    assert_eq!(pool.connect_timeout, Duration::from_secs(10), "default");
    assert_eq!(pool.pool_size, 25, "preset");
    assert_eq!(pool.max_overflow, 1, "file");
    assert_eq!(pool.pool_timeout, Duration::from_secs(22), "environment");
    assert_eq!(pool.pool_recycle, Some(Duration::from_secs(3333)), "code");
}

#[test]
fn a_file_may_hold_every_setting() {
    let text = "preset = 'small'
        [storage]\nconnection_string = 'sqlite:///./x.db'
        [db]\npool_size = 1\nmax_overflow = 2\npool_timeout = 3\npool_recycle = 'off'\n\
        recycle_jitter = 5
        pool_pre_ping = false\npre_ping_idle = 0.5\nping_timeout = '700ms'\n\
        connect_timeout = '8s'\nhook_timeout = '2m'
        close_timeout = 10.0\nidle_timeout = '1h'\nmin_idle = 1\nmax_waiters = 13\n\
        max_connecting = 14
        backoff_max = '15s'\nfail_fast_after = 16\noverflow_after = '17ms'\noverflow_linger = 18\n\
        leak_after = 19
        max_lease = '20m'\nstatement_timeout = 21\nlimits = 'off'\nreset = 'session'\n\
        pool = 'read-write'\nbehind = 'pgbouncer'\ncancel_abandoned = false\ntcp_keepalive = 22\n\
        tcp_user_timeout = 0
        [redis]\nurl = 'redis://r/1'\nmax_connections = 7\ntcp_keepalive = 'off'
        [cache]\nurl = 'redis://c/0'\nmax_connections = 300\n";
    let settings = toml(text).load().unwrap();
    let (s, ms) = (Duration::from_secs, Duration::from_millis);
    let mut pool = PoolConfig::default();
    (pool.pool_size, pool.max_overflow, pool.pool_timeout, pool.pool_recycle) = (1, 2, s(3), None);
    (pool.recycle_jitter, pool.pool_pre_ping, pool.pre_ping_idle) = (5, false, ms(500));
    (pool.ping_timeout, pool.connect_timeout, pool.hook_timeout) = (ms(700), s(8), s(120));
    (pool.close_timeout, pool.idle_timeout, pool.min_idle) = (s(10), Some(s(3600)), Some(1));
    (pool.max_waiters, pool.max_connecting, pool.backoff_max) = (Some(13), 14, s(15));
    (pool.fail_fast_after, pool.overflow_after, pool.overflow_linger) =
        (Some(s(16)), ms(17), s(18));
    (pool.leak_after, pool.max_lease, pool.statement_timeout) =
        (Some(s(19)), Some(s(1200)), Some(s(21)));
    pool.limits = Limits::Off;
    assert_eq!(settings.db.pool, pool);
    assert_eq!(
        (settings.db.reset, settings.db.kind),
        (ResetLevel::Session, Some(PoolKind::ReadWrite))
    );
    assert_eq!((settings.db.behind, settings.db.cancel_abandoned), (Pooler::PgBouncer, false));
    assert_eq!((settings.redis.tcp_keepalive, settings.cache.tcp_keepalive), (None, Some(s(60))));
    assert_eq!((settings.db.tcp_keepalive, settings.db.tcp_user_timeout), (Some(s(22)), None));
    assert_eq!(settings.storage.connection_string, Some(Secret::new("sqlite:///./x.db")));
    assert_eq!(
        (settings.redis.url, settings.redis.max_connections),
        (Some(Secret::new("redis://r/1")), 7)
    );
    assert_eq!(
        (settings.cache.url, settings.cache.max_connections),
        (Some(Secret::new("redis://c/0")), 300)
    );
}

#[test]
fn code_may_set_with_the_types_of_the_settings() {
    let settings = bare()
        .set("db.pool_size", 30_u32)
        .set("db.pool_timeout", Duration::from_millis(1500))
        .set("db.ping_timeout", 0.25)
        .set("db.pool_recycle", None::<Duration>)
        .set("db.max_waiters", Some(100))
        .set("db.min_idle", "auto")
        .set("db.pool_pre_ping", false)
        .set("db.reset", ResetLevel::Replace)
        .set("db.pool", PoolKind::Null)
        .set("db.behind", Pooler::PgBouncer)
        .set("redis.url", Secret::new("redis://h"))
        .load()
        .unwrap();
    let pool = &settings.db.pool;
    assert_eq!((pool.pool_size, pool.max_waiters, pool.min_idle), (30, Some(100), None));
    assert_eq!(
        (pool.pool_timeout, pool.ping_timeout),
        (Duration::from_millis(1500), Duration::from_millis(250))
    );
    assert_eq!((pool.pool_recycle, pool.pool_pre_ping), (None, false));
    assert_eq!((settings.db.reset, settings.db.kind), (ResetLevel::Replace, Some(PoolKind::Null)));
    assert_eq!((settings.db.behind, settings.db.cancel_abandoned), (Pooler::PgBouncer, true));
    assert_eq!(settings.redis.url, Some(Secret::new("redis://h")));
}

#[test]
fn the_last_call_of_set_wins() {
    let settings = bare().set("db.pool_size", 1).set("db.pool_size", 2).load().unwrap();
    assert_eq!(settings.db.pool.pool_size, 2);
}

#[test]
fn a_higher_layer_can_take_a_value_back() {
    let path = file(
        "preset = 'large'\n[db]\nidle_timeout = 60\npool = 'queue'\nmin_idle = 3\n[redis]\n\
         url = 'redis://h'\n",
    );
    let settings = bare()
        .file(path)
        .environment([
            ("PSN_DB_IDLE_TIMEOUT", "off"),
            ("PSN_DB_POOL", "auto"),
            ("PSN_DB_MIN_IDLE", "AUTO"),
        ])
        .set("redis.url", None::<Secret>)
        .set("preset", None::<&str>)
        .load()
        .unwrap();
    assert_eq!(
        (settings.db.pool.idle_timeout, settings.db.pool.min_idle, settings.db.kind),
        (None, None, None)
    );
    assert_eq!((settings.redis.url, settings.preset, settings.db.pool.pool_size), (None, None, 10));
}

#[test]
fn a_value_that_a_higher_layer_overrides_is_not_checked() {
    let path = file("[db]\npool_size = 'ten'\n");
    let settings = bare().file(path).environment([("PSN_DB_POOL_SIZE", "20")]).load().unwrap();
    assert_eq!(settings.db.pool.pool_size, 20);
}

#[test]
fn the_usual_file_may_be_absent_and_a_named_one_may_not() {
    // Tests run in the directory of their crate, which has no millpond.toml.
    assert!(Settings::loader().no_environment().load().is_ok());
    let error =
        Settings::loader().no_environment().file("no/such/millpond.toml").load().unwrap_err();
    assert!(error.to_string().contains("`no/such/millpond.toml`"), "{error}");
}

#[test]
fn limits_off_in_any_layer_lifts_the_ranges_of_all() {
    let path = file("[db]\npool_size = 500\n[redis]\nmax_connections = 1\n");
    assert!(bare().file(&path).load().is_err());
    let settings = bare().file(&path).environment([("PSN_DB_LIMITS", "off")]).load().unwrap();
    assert_eq!((settings.db.pool.pool_size, settings.redis.max_connections), (500, 1));
}

#[test]
fn even_without_limits_a_redis_pool_needs_a_slot() {
    let error =
        env([("PSN_DB_LIMITS", "off"), ("PSN_CACHE_MAX_CONNECTIONS", "0")]).load().unwrap_err();
    assert!(error.to_string().contains("cache.max_connections = 0"), "{error}");
}
