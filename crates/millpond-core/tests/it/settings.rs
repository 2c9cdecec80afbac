//! Settings that do not go together: what makes no sense is refused, what has no effect is reported
//! when the pool is built.

use crate::support::{World, ms, secs};
use millpond_core::{
    Builder, ConfigError, Event, EventContext, Limits, NullPool, PoolConfig, QueuePool,
};
use millpond_testkit::ScriptedManager;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Pool = QueuePool<ScriptedManager>;

/// What a pool reports when it is built with these settings, line by line.
fn reported(tune: impl FnOnce(&mut PoolConfig)) -> Vec<String> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&heard);
    let mut config = PoolConfig::default();
    tune(&mut config);
    let builder: Builder<Pool> = QueuePool::builder(ScriptedManager::new()).config(config);
    let observed = builder.observer(move |event: &Event, _: &EventContext<'_>| {
        if let Event::Warned { setting, message } = event {
            assert!(message.starts_with(&format!("{setting} = ")), "{message}");
            note.lock().unwrap().push(message.clone());
        }
    });
    drop(observed.build().unwrap());
    let heard = heard.lock().unwrap();
    heard.clone()
}

fn refused(tune: impl FnOnce(&mut PoolConfig)) -> ConfigError {
    let mut config = PoolConfig::default();
    tune(&mut config);
    QueuePool::builder(ScriptedManager::new()).config(config).build().unwrap_err()
}

#[test]
fn settings_of_an_overflow_that_cannot_happen_are_reported() {
    let lines = reported(|config| {
        (config.max_overflow, config.overflow_after, config.overflow_linger) =
            (0, secs(1), secs(5));
    });
    let expected = [
        "overflow_after = 1s has no effect with max_overflow = 0; raise max_overflow, or leave \
         overflow_after out",
        "overflow_linger = 5s has no effect with max_overflow = 0; raise max_overflow, or leave \
         overflow_linger out",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn an_overflow_that_nobody_waits_for_long_enough_is_refused() {
    for (after, timeout) in [(secs(30), secs(30)), (secs(60), secs(30)), (secs(5), secs(5))] {
        let error =
            refused(|config| (config.overflow_after, config.pool_timeout) = (after, timeout));
        let text = error.to_string();
        let expected = format!(
            "overflow_after = {after:?} is out of range 0s to {timeout:?} (below pool_timeout); "
        );
        assert!(
            text.starts_with(&expected)
                && text.ends_with("lower overflow_after or raise pool_timeout"),
            "{text}"
        );
        assert_eq!(error.problems()[0].other, Some("pool_timeout"));
    }
    let kept = |config: &mut PoolConfig| {
        (config.overflow_after, config.pool_timeout) = (ms(4_999), secs(5))
    };
    assert_eq!(reported(kept), Vec::<String>::new());
}

#[test]
fn an_idle_timeout_that_closes_nothing_is_reported() {
    type Tune = fn(&mut PoolConfig);
    let cases: [(Tune, Option<&str>); 6] = [
        (|_| {}, Some("auto")),
        (|config| config.max_overflow = 0, Some("auto")),
        (|config| config.min_idle = Some(10), Some("10")),
        (|config| config.min_idle = Some(9), None),
        (|config| config.min_idle = Some(0), None),
        // The surplus would linger for longer.
        (|config| config.overflow_linger = secs(300), None),
    ];
    for (tune, floor) in cases {
        let lines = reported(|config| {
            config.idle_timeout = Some(secs(60));
            tune(config);
        });
        let about_min_idle: Vec<_> =
            lines.iter().filter(|line| line.starts_with("idle_timeout = 60s")).collect();
        match floor {
            Some(floor) => assert!(
                about_min_idle[0].contains(&format!("closes nothing with min_idle = {floor}; "))
            ),
            None => assert!(about_min_idle.is_empty(), "{lines:?}"),
        }
    }
}

#[test]
fn every_setting_that_another_one_keeps_from_its_effect_is_reported() {
    type Tune = fn(&mut PoolConfig);
    let cases: [(Tune, &str); 13] = [
        (
            |config| (config.min_idle, config.idle_timeout) = (Some(0), Some(secs(3600))),
            "idle_timeout = 3600s is not shorter than pool_recycle = 3600s; ",
        ),
        (
            |config| {
                (config.min_idle, config.idle_timeout, config.overflow_linger) =
                    (Some(0), Some(secs(9)), secs(10));
            },
            "overflow_linger = 10s is longer than idle_timeout = 9s; ",
        ),
        (
            |config| (config.pool_recycle, config.overflow_linger) = (Some(secs(300)), secs(300)),
            "overflow_linger = 300s is not shorter than pool_recycle = 300s; ",
        ),
        (
            |config| (config.pool_pre_ping, config.pre_ping_idle) = (false, secs(5)),
            "pre_ping_idle = 5s has no effect with pool_pre_ping = false; ",
        ),
        (
            |config| (config.pool_recycle, config.pre_ping_idle) = (Some(secs(600)), secs(3600)),
            "pre_ping_idle = 3600s is not shorter than pool_recycle = 600s; ",
        ),
        (
            |config| (config.pool_recycle, config.recycle_jitter) = (None, 20),
            "recycle_jitter = 20 has no effect with pool_recycle = off; ",
        ),
        (
            |config| (config.leak_after, config.max_lease) = (Some(secs(60)), Some(secs(60))),
            "leak_after = 60s is not shorter than max_lease = 60s; ",
        ),
        (
            |config| (config.statement_timeout, config.max_lease) = (Some(secs(60)), Some(secs(5))),
            "statement_timeout = 60s is not shorter than max_lease = 5s; ",
        ),
        (
            |config| config.fail_fast_after = Some(secs(2)),
            "fail_fast_after = 2s is shorter than connect_timeout = 10s; ",
        ),
        (
            |config| config.connect_timeout = secs(31),
            "connect_timeout = 31s is longer than pool_timeout = 30s; ",
        ),
        (
            |config| (config.pool_timeout, config.ping_timeout) = (secs(3), secs(4)),
            "ping_timeout = 4s is longer than pool_timeout = 3s; ",
        ),
        (
            |config| config.hook_timeout = secs(60),
            "hook_timeout = 60s is longer than pool_timeout = 30s; ",
        ),
        (
            |config| config.backoff_max = secs(60),
            "backoff_max = 60s is longer than pool_timeout = 30s; ",
        ),
    ];
    for (tune, expected) in cases {
        let lines = reported(tune);
        assert!(lines.len() == 1 && lines[0].starts_with(expected), "{expected}: {lines:?}");
        assert!(lines[0].len() > expected.len(), "it says how to fix it");
    }
}

#[test]
fn one_setting_alone_is_never_at_odds_with_a_default_that_nobody_wrote() {
    let reports: [fn(&mut PoolConfig); 12] = [
        |_| {},
        |config| config.pool_size = 1,
        |config| config.max_overflow = 0,
        |config| config.pool_timeout = secs(1),
        |config| config.pool_recycle = None,
        |config| config.pool_recycle = Some(secs(300)),
        |config| config.pool_pre_ping = false,
        |config| config.min_idle = Some(10),
        |config| config.max_lease = Some(ms(1)),
        |config| config.overflow_linger = secs(1),
        |config| config.overflow_after = secs(1),
        |config| config.connect_timeout = ms(1),
    ];
    for tune in reports {
        assert_eq!(reported(tune), Vec::<String>::new());
    }
}

#[test]
fn a_null_pool_reports_what_would_need_idle_connections() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&heard);
    let observer = move |event: &Event, _: &EventContext<'_>| {
        if let Event::Warned { message, .. } = event {
            note.lock().unwrap().push(message.clone());
        }
    };
    let builder = NullPool::builder(ScriptedManager::new()).min_idle(3).idle_timeout(secs(60));
    drop(builder.overflow_linger(secs(120)).observer(observer).build().unwrap());
    let heard = heard.lock().unwrap();
    let about = |setting: &str| heard.iter().filter(|line| line.starts_with(setting)).count();
    assert_eq!(
        (about("min_idle = 3 has no effect with pool = null"), heard.len()),
        (1, 3),
        "{heard:?}"
    );
    assert_eq!(about("idle_timeout = 60s has no effect with pool = null"), 1, "{heard:?}");
    assert_eq!(about("overflow_linger = 120s has no effect with pool = null"), 1, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_resize_is_checked_against_the_other_settings_too() {
    let world = World::with(5, 0, |builder| builder.overflow_after(secs(60)).min_idle(5));
    let text = world.pool.resize(5, 1).unwrap_err().to_string();
    assert!(text.starts_with("overflow_after = 60s is out of range"), "{text}");
    world.pool.resize(2, 0).unwrap();
    assert_eq!(world.pool.status().limit(), 2);
}

#[test]
fn a_loan_or_a_statement_without_any_time_is_refused_with_any_limits() {
    let error = refused(|config| {
        config.limits = Limits::Off;
        (config.max_lease, config.statement_timeout) = (Some(Duration::ZERO), Some(Duration::ZERO));
    });
    let settings: Vec<_> = error.problems().iter().map(|problem| problem.setting).collect();
    assert_eq!(settings, ["max_lease", "statement_timeout"]);
    assert!(
        error
            .to_string()
            .contains("max_lease = 0s is out of range more than 0s; to switch it off, say off")
    );
}

#[test]
fn the_defaults_are_those_of_the_guide_and_pass() {
    let config = PoolConfig::default();
    assert_eq!((config.pool_size, config.max_overflow), (10, 20));
    assert_eq!(config.pool_timeout, Duration::from_secs(30));
    assert_eq!(config.pool_recycle, Some(Duration::from_secs(3600)));
    assert!(config.pool_pre_ping);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn every_problem_is_reported_at_once_with_name_value_and_range() {
    let error = refused(|config| {
        (config.pool_size, config.max_overflow) = (0, 101);
        (config.pool_timeout, config.pool_recycle) = (Duration::MAX, Some(secs(299)));
    });
    let text = error.to_string();
    assert!(text.contains("pool_size = 0 is out of range 1-50"), "{text}");
    assert!(text.contains("max_overflow = 101 is out of range 0-100"), "{text}");
    assert!(text.contains("pool_timeout = "), "{text}");
    assert!(text.contains("pool_recycle = 299s is out of range 300s to 7200s"), "{text}");
    assert!(text.contains("limits = \"off\""), "{text}");
}

#[test]
fn with_the_limits_off_only_the_impossible_is_refused() {
    let mut config = PoolConfig::default();
    (config.limits, config.pool_size) = (Limits::Off, 10_000);
    assert_eq!(config.check(), Ok(()));
    config.pool_size = u32::MAX;
    assert!(config.check().is_err());
    config.pool_size = 0;
    config.max_overflow = 0;
    assert!(config.check().is_err());
}
