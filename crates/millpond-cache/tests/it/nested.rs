//! Loaders that use the cache themselves.

use crate::support::builders;
use futures_util::FutureExt;
use futures_util::future::join_all;
use millpond_cache::{CacheError, RedisCache};
use std::io::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Longer than a busy machine needs, and shorter than the limit of a load.
const SOON: Duration = Duration::from_secs(20);

fn caches() -> Vec<RedisCache> {
    builders()
        .into_iter()
        .map(|builder| builder.loads_max(32).load_timeout(SOON * 3).connect_lazy().unwrap())
        .collect()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("they wait for each other")
}

/// Loads a page, which needs a user, which needs a country: each from the cache.
async fn page(cache: &RedisCache, n: u32, user: &str) -> Result<Option<String>, CacheError> {
    let country = || async { Ok::<_, Error>(Some("ponds".to_owned())) };
    let user_of = || async {
        Ok::<_, CacheError>(
            cache.get_or_load("country", country).await?.map(|it| format!("duck of {it}")),
        )
    };
    let page = || async {
        let user = cache.get_or_load(user, user_of).await?;
        Ok::<_, CacheError>(user.map(|user| format!("page {n} of {user}")))
    };
    cache.get_or_load(&format!("page {n}"), page).await
}

#[tokio::test]
async fn nested_loads_of_an_empty_cache_succeed() {
    for cache in caches() {
        let pages = soon(join_all((0..64).map(|n| {
            let cache = &cache;
            async move { page(cache, n, &format!("user {n}")).await }
        })));
        for (n, page) in pages.await.into_iter().enumerate() {
            assert_eq!(page.unwrap().unwrap(), format!("page {n} of duck of ponds"));
        }
        assert_eq!(cache.totals().loads, 64 + 64 + 1);
    }
}

#[tokio::test]
async fn a_nested_load_does_not_wait_for_a_leader_without_a_permit() {
    for builder in builders() {
        let cache = builder.loads_max(1).load_timeout(SOON * 3).connect_lazy().unwrap();
        let (asks, holds) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
        let slow = || async {
            holds.notify_one();
            asks.notified().await;
            let user = cache
                .get_or_load("user", || async { Ok::<_, Error>(Some("nested".to_owned())) })
                .await?;
            Ok::<_, CacheError>(user)
        };
        let holder = cache.get_or_load("page", slow).fuse();
        tokio::pin!(holder);
        tokio::select! { page = &mut holder => panic!("{page:?}"), () = holds.notified() => {} }
        // Leads the load of the user without a permit: the page has the only one.
        let first =
            cache.get_or_load("user", || async { Ok::<_, Error>(Some("first".to_owned())) }).fuse();
        tokio::pin!(first);
        let misses = || cache.totals().misses;
        while misses() < 2 {
            tokio::select! {
                user = &mut first => panic!("{user:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        asks.notify_one();
        let (page, user) = soon(async { tokio::join!(holder, first) }).await;
        assert_eq!(
            (page.unwrap().as_deref(), user.unwrap().as_deref()),
            (Some("first"), Some("first"))
        );
    }
}

#[tokio::test]
async fn a_loader_that_requests_its_own_key_gets_an_error_at_once() {
    for cache in caches() {
        let own = || async {
            let inner = cache.get_or_load("key", || async { Ok::<_, Error>(Some(1)) }).await;
            assert!(matches!(inner, Err(CacheError::Circle)), "{inner:?}");
            Ok::<_, Error>(Some(2))
        };
        assert_eq!(soon(cache.get_or_load("key", own)).await.unwrap(), Some(2));
    }
}

#[tokio::test]
async fn loaders_that_request_each_other_s_keys_do_not_wait_for_each_other() {
    for cache in caches() {
        let at_work = AtomicU32::new(0);
        let ask = async |mine: &str, other: &str| {
            let load = || async {
                at_work.fetch_add(1, Ordering::SeqCst);
                while at_work.load(Ordering::SeqCst) < 2 {
                    tokio::task::yield_now().await;
                }
                cache.get_or_load(other, || async { Ok::<_, Error>(Some(0)) }).await
            };
            cache.get_or_load::<i32, _, _, _>(mine, load).await
        };
        let both = soon(async { tokio::join!(ask("one", "other"), ask("other", "one")) }).await;
        let errors = [both.0, both.1].into_iter().map(|outcome| outcome.unwrap_err().to_string());
        assert!(errors.into_iter().all(|error| error.contains("waits for this one")));
        // Both keys can be loaded again.
        let load = || async { Ok::<_, Error>(Some(3)) };
        assert_eq!(soon(cache.get_or_load("one", load)).await.unwrap(), Some(3));
    }
}

#[tokio::test]
async fn a_dropped_nested_load_leaves_no_caller_waiting() {
    for cache in caches() {
        let gives_up = || async {
            let never = || std::future::pending::<Result<Option<i32>, Error>>();
            let inner = cache.get_or_load("inner", never).now_or_never();
            assert!(inner.is_none());
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            cache.get_or_load("inner", || async { Ok::<_, Error>(Some(7)) }).await
        };
        assert_eq!(soon(cache.get_or_load("outer", gives_up)).await.unwrap(), Some(7));
    }
}
