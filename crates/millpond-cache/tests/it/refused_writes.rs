//! A Redis that answers reads and refuses writes.

use millpond_cache::{CacheError, CacheEvent, OnOutage, RedisCache};
use millpond_redis::{Command, RedisPool, RedisPoolOptions, Value};
use millpond_testkit::OwnServer;
use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

async fn config(admin: &RedisPool, name: &'static str, value: &'static str) {
    admin.run::<Value>(Command::new("CONFIG").arg("SET").arg(name).arg(value)).await.unwrap();
}

/// Long enough that a busy machine does not count as an outage.
fn cache(url: &str, on_outage: OnOutage) -> RedisCache {
    RedisCache::builder()
        .url(url)
        .on_outage(on_outage)
        .timeout(Duration::from_secs(20))
        .connect_lazy()
        .unwrap()
}

/// Makes a server refuse writes with the error `how`.
async fn refuse(admin: &RedisPool, how: &str) {
    match how {
        "OOM" => config(admin, "maxmemory", "1").await,
        "NOREPLICAS" => config(admin, "min-replicas-to-write", "1").await,
        _ => {
            let replicate = Command::new("REPLICAOF").arg("127.0.0.1").arg(1);
            admin.run::<Value>(replicate).await.unwrap();
        }
    }
}

#[tokio::test]
async fn reads_succeed_while_writes_are_refused() {
    for how in ["OOM", "NOREPLICAS", "READONLY"] {
        let Some(server) = OwnServer::or_skip("redis") else { return };
        let admin = RedisPoolOptions::new().connect(server.url()).await.unwrap();
        let refused = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&refused);
        let builder = RedisCache::builder().url(server.url()).timeout(Duration::from_secs(20));
        let cache = builder.observer(move |event: &CacheEvent, _: &str| {
            if let CacheEvent::Bypassed { error } = event {
                assert!(error.is_some(), "the cache takes Redis for down");
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        let cache = cache.connect_lazy().unwrap();
        cache.set("k", &1).await.unwrap();
        refuse(&admin, how).await;
        for n in 0..50 {
            cache.set("other", &n).await.unwrap();
            assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1), "{how}");
            let load = || async move { Ok::<_, Error>(Some(n)) };
            assert_eq!(
                cache.get_or_load(&format!("new {n}"), load).await.unwrap(),
                Some(n),
                "{how}"
            );
            assert_eq!(cache.get_or_load("k", load).await.unwrap(), Some(1), "{how}");
        }
        assert_eq!(refused.load(Ordering::SeqCst), 100, "{how}");
        let error = cache.incr("n", 1).await.unwrap_err();
        assert!(
            matches!(&error, CacheError::Redis(error) if error.code() == Some(how)),
            "{how}: {error}"
        );
    }
}

#[tokio::test]
async fn an_old_value_is_not_returned_after_a_refused_write() {
    let long = Duration::from_secs(300);
    let fails = || async { Err::<Option<i32>, _>(Error::other("dry")) };
    for on_outage in [OnOutage::Open, OnOutage::Closed] {
        let Some(server) = OwnServer::or_skip("redis") else { return };
        let admin = RedisPoolOptions::new().connect(server.url()).await.unwrap();
        let builder = RedisCache::builder().url(server.url()).on_outage(on_outage).ttl_jitter(0);
        let builder = builder.timeout(Duration::from_secs(20)).negative_ttl(long);
        let cache = builder.stale_while_revalidate(long).connect_lazy().unwrap();
        let finds = [("gone", None), ("changed", Some(2))];
        for (key, _) in finds {
            cache.set_with_ttl(key, &1, Duration::from_millis(1)).await.unwrap();
            while cache.exists(key).await.unwrap() {}
        }
        // A server whose memory is full still executes removals.
        refuse(&admin, "OOM").await;
        for (key, found) in finds {
            let load = || async { Ok::<_, Error>(found) };
            match cache.get_or_load(key, load).await {
                Ok(value) => assert!(on_outage == OnOutage::Open && value == found, "{value:?}"),
                Err(error) => {
                    assert!(on_outage == OnOutage::Closed && error.to_string().contains("OOM"));
                }
            }
            let next = cache.get_or_load(key, fails).await;
            assert!(matches!(next, Err(CacheError::Load(_))), "{key}: {next:?}");
        }
    }
}

#[tokio::test]
async fn with_fail_closed_a_refused_write_returns_the_server_s_error() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let admin = RedisPoolOptions::new().connect(server.url()).await.unwrap();
    let cache = cache(server.url(), OnOutage::Closed);
    cache.set("k", &1).await.unwrap();
    refuse(&admin, "OOM").await;
    let error = cache.set("k", &2).await.unwrap_err();
    assert!(error.to_string().contains("OOM"), "{error}");
    assert_eq!(cache.get::<i32>("k").await.unwrap(), Some(1));
}

#[tokio::test]
async fn the_error_shows_that_nothing_was_sent_and_why() {
    // A port without a server.
    let builder = RedisCache::builder().url("redis://127.0.0.1:1/0");
    let cache = builder.on_outage(OnOutage::Closed).connect_lazy().unwrap();
    let outcomes = [
        cache.delete(&["k"]).await.map(drop),
        cache.incr("k", 1).await.map(drop),
        cache.set("k", &1).await,
    ];
    for outcome in outcomes {
        let Err(CacheError::Redis(error)) = outcome else { panic!("{outcome:?}") };
        assert!(!error.is_ambiguous() && !error.to_string().contains("executed"), "{error}");
        assert!(error.to_string().to_lowercase().contains("refused"), "{error}");
    }
}
