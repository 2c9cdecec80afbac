//! Keys in Redis without a fresh value: stale, remembered as missing, unreadable, or not of the
//! cache.

use crate::support::{PATIENCE, builders, caches};
use futures_util::future::join_all;
use millpond_cache::{CacheBuilder, CacheError, RedisCache};
use millpond_redis::{Command, Value};
use millpond_testkit::variable;
use std::io::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

const LONG: Duration = Duration::from_secs(300);

fn with_stale() -> impl Iterator<Item = CacheBuilder> {
    builders()
        .into_iter()
        .map(|builder| builder.ttl(LONG).ttl_jitter(0).stale_while_revalidate(LONG))
}

/// Stores a stale value that may still be returned for long.
async fn past(cache: &RedisCache, key: &str, value: &str) {
    cache.set_with_ttl(key, value, Duration::from_millis(1)).await.unwrap();
    while cache.exists(key).await.unwrap() {}
}

#[tokio::test]
async fn only_get_or_load_returns_a_stale_value() {
    for builder in with_stale() {
        let cache = builder.connect_lazy().unwrap();
        past(&cache, "k", "old").await;
        assert_eq!(cache.get::<String>("k").await.unwrap(), None);
        cache.set("fresh", "new").await.unwrap();
        let found = cache.mget::<String>(&["k", "fresh", "none"]).await.unwrap();
        assert_eq!(found, [None, Some("new".to_owned()), None]);
        assert_eq!(cache.ttl("k").await.unwrap(), None);
        let left = cache.ttl("fresh").await.unwrap().unwrap();
        assert!(left <= LONG && left > LONG / 2, "{left:?}");
        let fails = || async { Err::<Option<String>, _>(Error::other("dry")) };
        assert_eq!(cache.get_or_load("k", fails).await.unwrap().as_deref(), Some("old"));
    }
}

#[tokio::test]
async fn a_stale_value_is_removed_once_a_loader_finds_nothing() {
    let fails = || async { Err::<Option<String>, _>(Error::other("dry")) };
    for builder in with_stale() {
        let cache = builder.max_value_size(10).connect_lazy().unwrap();
        let finds = [None, Some("more than can be stored".to_owned())];
        for (n, found) in finds.into_iter().enumerate() {
            let key = format!("k{n}");
            past(&cache, &key, "old").await;
            let load = || async { Ok::<_, Error>(found.clone()) };
            assert_eq!(cache.get_or_load(&key, load).await.unwrap(), found);
            let next = cache.get_or_load(&key, fails).await;
            assert!(matches!(next, Err(CacheError::Load(_))), "{next:?}");
        }
    }
    for builder in with_stale() {
        let cache = builder.negative_ttl(LONG).connect_lazy().unwrap();
        past(&cache, "k", "old").await;
        let nothing = || async { Ok::<Option<String>, Error>(None) };
        assert_eq!(cache.get_or_load("k", nothing).await.unwrap(), None);
        assert_eq!(cache.get_or_load("k", fails).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_value_deleted_by_another_process_is_not_returned_by_later_loads() {
    for name in ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"] {
        let Some(url) = variable(name) else { continue };
        let namespace = format!("test-{:x}", fastrand::u64(..));
        let process = || {
            let builder = RedisCache::builder().url(&url).namespace(namespace.clone());
            builder.timeout(PATIENCE).stale_while_revalidate(LONG).connect_lazy().unwrap()
        };
        let (one, other) = (process(), process());
        past(&one, "k", "old").await;
        let (began, go) = (Notify::new(), Notify::new());
        let fails = || async {
            began.notify_one();
            go.notified().await;
            Err::<Option<String>, _>(Error::other("dry"))
        };
        let later = async {
            began.notified().await;
            assert_eq!(other.delete(&["k"]).await.unwrap(), 1);
            let load = || async { Ok::<_, Error>(Some("new".to_owned())) };
            let finish = async {
                // Now the other caller waits for the load that fails.
                for _ in 0..1_000 {
                    tokio::task::yield_now().await;
                }
                go.notify_one();
            };
            tokio::join!(one.get_or_load("k", load), finish).0
        };
        let (reloaded, later) = tokio::join!(one.get_or_load("k", fails), later);
        assert_eq!(reloaded.unwrap().as_deref(), Some("old"));
        assert_eq!(later.unwrap().as_deref(), Some("new"));
    }
}

#[tokio::test]
async fn a_counter_is_found_until_it_expires() {
    for builder in with_stale() {
        let cache = builder.connect_lazy().unwrap();
        assert_eq!(cache.incr("n", 3).await.unwrap(), 3);
        let left = cache.ttl("n").await.unwrap().unwrap();
        assert!(left <= LONG && left > LONG / 2, "{left:?}");
        let key = cache.pool().run::<Vec<String>>(Command::new("KEYS").arg("*:n"));
        // In a cluster KEYS lists one node only, so the first server is enough.
        if let Some(key) = key.await.unwrap().iter().find(|key| key.contains("test-")) {
            cache.pool().run::<Value>(Command::new("PEXPIRE").key(key).arg(20_000)).await.unwrap();
            if cache.ttl("n").await.unwrap().unwrap() <= Duration::from_secs(20) {
                assert_eq!(cache.get::<i64>("n").await.unwrap(), Some(3));
                assert!(cache.exists("n").await.unwrap());
            }
        }
    }
}

#[tokio::test]
async fn a_remembered_missing_value_does_not_exist_and_has_no_ttl() {
    for (builder, stale) in
        with_stale().map(|it| (it, true)).chain(builders().into_iter().map(|it| (it, false)))
    {
        let cache = builder.negative_ttl(LONG).connect_lazy().unwrap();
        let loads = AtomicU32::new(0);
        let nothing = || async {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<Option<u32>, Error>(None)
        };
        assert_eq!(cache.get_or_load("k", nothing).await.unwrap(), None);
        assert_eq!(cache.get_or_load("k", nothing).await.unwrap(), None);
        assert_eq!(loads.load(Ordering::SeqCst), 1, "{stale}");
        assert!(!cache.exists("k").await.unwrap(), "{stale}");
        assert_eq!(cache.ttl("k").await.unwrap(), None, "{stale}");
        assert_eq!(cache.mget::<u32>(&["k"]).await.unwrap(), [None]);
        // Texts that look like the marker are values.
        cache.set("n", "n").await.unwrap();
        assert!(cache.exists("n").await.unwrap() && cache.ttl("n").await.unwrap().is_some());
    }
}

#[tokio::test]
async fn an_unreadable_stale_value_is_loaded_once_for_all_callers() {
    for builder in with_stale() {
        let cache = builder.connect_lazy().unwrap();
        past(&cache, "k", "a text, and a number is asked for").await;
        let loads = AtomicU32::new(0);
        let load = || async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            Ok::<_, Error>(Some(loads.fetch_add(1, Ordering::SeqCst)))
        };
        for answer in join_all((0..10).map(|_| cache.get_or_load::<u32, _, _, _>("k", load))).await
        {
            assert_eq!(answer.unwrap(), Some(0));
        }
        assert_eq!(cache.totals().hits, 0);
    }
}

#[tokio::test]
async fn a_key_named_lock_is_an_ordinary_key() {
    for builder in builders() {
        let cache = builder.lock_across_processes(LONG).connect_lazy().unwrap();
        cache.set("a:lock", "mine").await.unwrap();
        let load = || async {
            assert_eq!(cache.get::<String>("a:lock").await.unwrap().as_deref(), Some("mine"));
            // A clear does not remove locks.
            assert_eq!(cache.clear().await.unwrap(), 1);
            Ok::<_, Error>(Some("loaded".to_owned()))
        };
        let loaded = tokio::time::timeout(LONG / 10, cache.get_or_load("a", load)).await;
        assert_eq!(
            loaded.expect("it waits for a lock that nobody has").unwrap().as_deref(),
            Some("loaded")
        );
    }
}

#[tokio::test]
async fn a_ttl_beyond_a_year_is_refused_with_the_range() {
    for cache in caches() {
        for ttl in [Duration::MAX, Duration::from_secs(365 * 86_400 + 1)] {
            let error = cache.set_with_ttl("k", &1, ttl).await.unwrap_err();
            assert!(matches!(error, CacheError::Setting { .. }), "{error}");
            assert!(
                error.to_string().contains("out of range") && error.to_string().contains("ttl"),
                "{error}"
            );
        }
        cache.set_with_ttl("k", &1, Duration::from_secs(365 * 86_400)).await.unwrap();
        cache.set_with_ttl("at once", &1, Duration::ZERO).await.unwrap();
        assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
    }
}
