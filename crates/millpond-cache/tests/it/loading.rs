//! A missing value is loaded once for all callers.

use crate::support::{PATIENCE, builders, caches};
use millpond_cache::{CacheError, CacheEvent, RedisCache};
use millpond_redis::Limits;
use millpond_testkit::{ChaosProxy, Direction, Flow, Link, until, variable};
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A source of values that counts its calls.
#[derive(Clone, Default)]
struct Source {
    loads: Arc<AtomicU32>,
    at_once: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
}

impl Source {
    async fn load(&self) -> Result<Option<u32>, Error> {
        self.most.fetch_max(self.at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        Ok(Some(self.loads.fetch_add(1, Ordering::SeqCst) + 1))
    }

    fn loads(&self) -> u32 {
        self.loads.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_for_a_missing_key_cause_one_load() {
    for cache in caches() {
        let source = Source::default();
        let tasks = (0..1000).map(|_| {
            let (cache, source) = (cache.clone(), source.clone());
            tokio::spawn(async move { cache.get_or_load("key", || source.load()).await.unwrap() })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), Some(1));
        }
        assert_eq!(source.loads(), 1);
        let totals = cache.totals();
        assert_eq!((totals.loads, totals.misses), (1, 1));
        assert_eq!(totals.hits + totals.shared, 999);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_lock_several_processes_cause_one_load() {
    for name in ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"] {
        let Some(url) = variable(name) else { continue };
        let (source, namespace) = (Source::default(), format!("test-{:x}", fastrand::u64(..)));
        let tasks = (0..4).flat_map(|_| {
            // A separate cache represents a separate process.
            let builder = RedisCache::builder().url(&url).namespace(namespace.clone());
            let builder = builder.timeout(PATIENCE).lock_across_processes(Duration::from_secs(60));
            let cache = builder.connect_lazy().unwrap();
            let source = source.clone();
            (0..25).map(move |_| {
                let (cache, source) = (cache.clone(), source.clone());
                tokio::spawn(
                    async move { cache.get_or_load("key", || source.load()).await.unwrap() },
                )
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), Some(1));
        }
        assert_eq!(source.loads(), 1);
    }
}

#[tokio::test]
async fn with_a_lock_one_process_reloads_a_stale_value_and_the_others_return_it() {
    for name in ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"] {
        let Some(url) = variable(name) else { continue };
        let (namespace, minute) =
            (format!("test-{:x}", fastrand::u64(..)), Duration::from_secs(60));
        let cache = || {
            let builder = RedisCache::builder().url(&url).namespace(namespace.clone());
            let builder = builder.timeout(minute).stale_while_revalidate(minute);
            builder.lock_across_processes(minute).connect_lazy().unwrap()
        };
        let (one, other) = (cache(), cache());
        one.set_with_ttl("key", &1_u32, Duration::from_millis(1)).await.unwrap();
        while one.exists("key").await.unwrap() {}
        let (began, go) = (Notify::new(), Notify::new());
        let reload = async || {
            began.notify_one();
            go.notified().await;
            Ok::<_, Error>(Some(2_u32))
        };
        let source = Source::default();
        let meanwhile = async {
            began.notified().await;
            let found = other.get_or_load("key", || source.load()).await.unwrap();
            assert_eq!((found, source.loads()), (Some(1), 0), "another process reloads it");
            go.notify_one();
        };
        let (reloaded, ()) = tokio::join!(one.get_or_load("key", reload), meanwhile);
        assert_eq!(reloaded.unwrap(), Some(2));
        assert_eq!(other.get_or_load("key", || source.load()).await.unwrap(), Some(2));
        one.set_with_ttl("key", &3_u32, Duration::from_millis(1)).await.unwrap();
        while one.exists("key").await.unwrap() {}
        let found = other.get_or_load("key", || source.load()).await.unwrap();
        assert_eq!((found, source.loads()), (Some(1), 1), "the lock was released");
    }
}

#[tokio::test]
async fn a_waiting_caller_takes_over_the_load_of_a_dropped_one() {
    for cache in caches() {
        let began = Arc::new(Notify::new());
        let leader = {
            let (cache, began) = (cache.clone(), began.clone());
            tokio::spawn(async move {
                let never = || async {
                    began.notify_one();
                    std::future::pending::<Result<Option<u32>, Error>>().await
                };
                cache.get_or_load("key", never).await
            })
        };
        began.notified().await;
        let source = Source::default();
        let followers = (0..5).map(|_| {
            let (cache, source) = (cache.clone(), source.clone());
            tokio::spawn(async move { cache.get_or_load("key", || source.load()).await.unwrap() })
        });
        let followers: Vec<_> = followers.collect();
        tokio::task::yield_now().await;
        leader.abort();
        for follower in followers {
            assert_eq!(follower.await.unwrap(), Some(1));
        }
    }
}

#[tokio::test]
async fn a_dropped_load_releases_its_lock() {
    for name in ["MILLPOND_TEST_REDIS_URL", "MILLPOND_TEST_CLUSTER_URL"] {
        let Some(url) = variable(name) else { continue };
        let namespace = format!("test-{:x}", fastrand::u64(..));
        let cache = || {
            let builder = RedisCache::builder().url(&url).namespace(namespace.clone());
            let builder = builder.timeout(PATIENCE);
            builder.lock_across_processes(Duration::from_secs(300)).connect_lazy().unwrap()
        };
        let (one, other, began, source) = (cache(), cache(), Notify::new(), Source::default());
        let never = || async {
            began.notify_one();
            std::future::pending::<Result<Option<u32>, Error>>().await
        };
        tokio::select! {
            loaded = one.get_or_load("key", never) => panic!("{loaded:?}"),
            () = began.notified() => {}
        }
        let loaded = tokio::time::timeout(
            Duration::from_secs(60),
            other.get_or_load("key", || source.load()),
        )
        .await;
        assert_eq!(loaded.expect("the key is locked").unwrap(), Some(1));
    }
}

#[tokio::test]
async fn waiting_callers_share_the_error_of_a_failed_load_and_the_next_one_loads_again() {
    for cache in caches() {
        let loads = AtomicU32::new(0);
        let fails = || async {
            loads.fetch_add(1, Ordering::SeqCst);
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            Err::<Option<u32>, _>(Error::other("the source is dry"))
        };
        let asked = (0..10).map(|_| cache.get_or_load("key", fails));
        for answer in futures_util::future::join_all(asked).await {
            let error = answer.unwrap_err();
            assert!(
                matches!(error, CacheError::Load(_)) && error.to_string().contains("dry"),
                "{error}"
            );
        }
        assert!(loads.load(Ordering::SeqCst) <= 2, "{loads:?}");
        let source = Source::default();
        assert_eq!(cache.get_or_load("key", || source.load()).await.unwrap(), Some(1));
    }
}

#[tokio::test]
async fn a_missing_value_is_remembered_if_configured() {
    for builder in builders() {
        let cache = builder.negative_ttl(Duration::from_secs(60)).connect_lazy().unwrap();
        let loads = AtomicU32::new(0);
        let nothing = || async {
            loads.fetch_add(1, Ordering::SeqCst);
            Ok::<Option<u32>, Error>(None)
        };
        for _ in 0..5 {
            assert_eq!(cache.get_or_load("key", nothing).await.unwrap(), None);
        }
        assert_eq!(loads.load(Ordering::SeqCst), 1);
        assert_eq!(cache.get::<u32>("key").await.unwrap(), None);
    }
    for cache in caches() {
        let loads = AtomicU32::new(0);
        for _ in 0..5 {
            let nothing = || async {
                loads.fetch_add(1, Ordering::SeqCst);
                Ok::<Option<u32>, Error>(None)
            };
            assert_eq!(cache.get_or_load("key", nothing).await.unwrap(), None);
        }
        assert_eq!(loads.load(Ordering::SeqCst), 5);
    }
}

#[tokio::test]
async fn a_stale_value_is_returned_while_one_caller_reloads_it() {
    for builder in builders() {
        let events = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let cache = builder
            .ttl(Duration::from_millis(50))
            .ttl_jitter(0)
            .stale_while_revalidate(Duration::from_secs(60))
            .observer(move |event: &CacheEvent, _: &str| {
                seen.lock().unwrap().push(format!("{event:?}"))
            })
            .connect_lazy()
            .unwrap();
        let source = Source::default();
        assert_eq!(cache.get_or_load("key", || source.load()).await.unwrap(), Some(1));
        // Until it is stale.
        let past = Instant::now() + Duration::from_secs(60);
        while !events.lock().unwrap().iter().any(|event| event == "StaleHit") {
            assert!(Instant::now() < past, "it never was");
            let fails = || async { Err::<Option<u32>, _>(Error::other("dry")) };
            assert_eq!(
                cache.get_or_load("key", fails).await.unwrap(),
                Some(1),
                "a failing loader leaves the old value"
            );
        }
        let both = tokio::join!(
            cache.get_or_load("key", || source.load()),
            cache.get_or_load("key", || async { Ok::<_, Error>(Some(99)) })
        );
        let both = (both.0.unwrap(), both.1.unwrap());
        let one_loads = matches!(both, (Some(2), Some(1)) | (Some(1), Some(99)));
        assert!(one_loads, "one loads, the other has the old value: {both:?}");
    }
}

#[tokio::test]
async fn a_loader_that_takes_too_long_is_dropped() {
    for builder in builders() {
        let cache = builder.load_timeout(Duration::from_millis(50)).connect_lazy().unwrap();
        let never = || std::future::pending::<Result<Option<u32>, Error>>();
        let error = cache.get_or_load("key", never).await.unwrap_err();
        assert!(matches!(error, CacheError::LoadTimedOut { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_value_loaded_before_a_write_or_delete_is_not_stored_after_it() {
    for cache in caches() {
        for operation in ["delete", "set", "clear", "incr"] {
            let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let load = |value: u32| {
                let (began, go) = (Arc::clone(&began), Arc::clone(&go));
                move || async move {
                    began.notify_one();
                    go.notified().await;
                    Ok::<_, Error>(Some(value))
                }
            };
            let old = {
                let (cache, load) = (cache.clone(), load(1));
                tokio::spawn(async move { cache.get_or_load(operation, load).await.unwrap() })
            };
            began.notified().await;
            match operation {
                "delete" => drop(cache.delete(&[operation]).await.unwrap()),
                "set" => cache.set(operation, &2_u32).await.unwrap(),
                "clear" => drop(cache.clear().await.unwrap()),
                _ => drop(cache.incr(operation, 2).await.unwrap()),
            }
            let written = matches!(operation, "set" | "incr").then_some(2_u32);
            if written.is_none() {
                let newer = {
                    let (cache, load) = (cache.clone(), load(2));
                    tokio::spawn(async move { cache.get_or_load(operation, load).await.unwrap() })
                };
                began.notified().await;
                go.notify_waiters();
                assert_eq!(newer.await.unwrap(), Some(2), "{operation}: joined the earlier load");
            } else {
                go.notify_waiters();
            }
            assert_eq!(old.await.unwrap(), Some(1), "{operation}");
            assert_eq!(
                cache.get::<u32>(operation).await.unwrap(),
                Some(2),
                "{operation}: stored the old value"
            );
        }
    }
}

#[tokio::test]
async fn the_value_of_a_dropped_caller_is_not_stored_after_a_delete() {
    let Some(straight) = variable("MILLPOND_TEST_REDIS_URL") else { return };
    let place = straight.split_once("://").unwrap().1.split('/').next().unwrap();
    let proxy = ChaosProxy::start(place).await.unwrap();
    let builder = RedisCache::builder().url(&proxy.reroute(&straight)).timeout(PATIENCE);
    let builder = builder.namespace(format!("test-{:x}", fastrand::u64(..)));
    // Two connections, used in turn.
    let cache = builder.limits(Limits::Off).max_connections(20).connect().await.unwrap();
    cache.pool().as_core().set_acquires_per_turn(1);
    until("both are open", async || {
        cache.exists("k").await.unwrap();
        cache.pool().status().open == 2
    })
    .await;
    let links = proxy.links();
    for first in [0, 1, 0, 1] {
        let (caller, stalled) = (cache.clone(), links.clone());
        let load = || async move {
            stalled.iter().for_each(|link| link.set(Direction::ToServer, Flow::stalled()));
            Ok::<_, Error>(Some(1))
        };
        let loading = tokio::spawn(async move { caller.get_or_load("k", load).await });
        let is_held =
            |link: &Link| link.arrived(Direction::ToServer) > link.passed(Direction::ToServer);
        until("the value is on its way", async || links.iter().any(is_held)).await;
        loading.abort();
        assert!(loading.await.is_err());
        let caller = cache.clone();
        let deleting = tokio::spawn(async move { caller.delete(&["k"]).await.unwrap() });
        for link in [&links[first], &links[1 - first]] {
            for _ in 0..2_000 {
                tokio::task::yield_now().await;
            }
            link.set(Direction::ToServer, Flow::free());
        }
        deleting.await.unwrap();
        until("everything has arrived", async || !links.iter().any(is_held)).await;
        assert_eq!(cache.get::<i32>("k").await.unwrap(), None, "{first}");
    }
}
