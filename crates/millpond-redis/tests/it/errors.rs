//! What cannot be had is said at once, and nothing secret with it.

use crate::support::{by_each_driver, few, single};
use millpond_core::PoolError;
use millpond_redis::{Command, RedisConnectOptions, RedisError, RedisPoolOptions};
use millpond_testkit::{Trace, variable};

#[tokio::test]
async fn a_wrong_password_fails_at_once_and_is_not_shown() {
    let Some(url) = variable("MILLPOND_TEST_REDIS_PASSWORD_URL") else { return };
    let place = url.rsplit_once('@').unwrap().1;
    let urls = [":hunter2@", "hunter:hunter2@", ""].map(|login| format!("redis://{login}{place}"));
    for url in urls.iter().flat_map(|url| by_each_driver(url)) {
        let trace = Trace::new();
        let error = few(1).observer(trace.clone()).connect(&url).await.unwrap_err();
        assert!(
            matches!(&error, RedisError::Pool(PoolError::Connect { attempts: 1, .. })),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        assert_eq!(trace.count("connect failed"), 1, "{error}");
    }
}

#[tokio::test]
async fn a_database_that_does_not_exist_and_a_cluster_that_is_none_fail_at_once() {
    let Some(url) = single() else { return };
    let place = url.split_once("://").unwrap().1.trim_end_matches("/0").to_owned();
    let urls = [format!("redis://{place}/99"), format!("redis-cluster://{place}")];
    for url in urls.iter().flat_map(|url| by_each_driver(url)) {
        let error = few(1).connect(&url).await.unwrap_err();
        assert!(
            matches!(&error, RedisError::Pool(PoolError::Connect { attempts: 1, .. })),
            "{url}: {error}"
        );
    }
}

#[tokio::test]
async fn an_error_of_the_server_has_its_code_and_costs_nothing() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let trace = Trace::new();
        let pool = few(1).observer(trace.clone()).connect(&url).await.unwrap();
        let key = crate::support::key("list");
        pool.run::<()>(Command::new("RPUSH").key(&key).arg("x")).await.unwrap();
        let error = pool.run::<Option<String>>(crate::support::get(&key)).await.unwrap_err();
        assert_eq!(error.code(), Some("WRONGTYPE"));
        assert!(!error.is_ambiguous());
        let error = pool.run::<()>(Command::new("NOSUCH").arg("hunter2")).await.unwrap_err();
        assert!(
            error.to_string().contains("NOSUCH") && !error.to_string().contains("hunter2"),
            "{error}"
        );
        assert!(trace.closed().is_empty());
    }
}

#[test]
fn no_password_is_shown_anywhere() {
    let url = "rediss://miller:hunter2@h/1";
    let options: RedisConnectOptions = url.parse().unwrap();
    let pool = RedisPoolOptions::new().connect_lazy(url).unwrap();
    let text = format!("{options:?} {pool:?} {:?}", RedisPoolOptions::new());
    assert!(text.contains("miller") && !text.contains("hunter2"), "{text}");
}
