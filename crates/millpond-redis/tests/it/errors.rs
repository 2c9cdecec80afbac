//! What is not supported is refused at once, and no message contains a secret.

use crate::support::{by_each_driver, few, single};
use millpond_core::PoolError;
use millpond_redis::{
    Command, RedisConnectOptions, RedisError, RedisPoolOptions, SharedRedisPoolOptions, Value,
};
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

#[tokio::test]
async fn an_error_or_a_status_that_is_no_text_concerns_its_caller_alone() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let trace = Trace::new();
        let options = SharedRedisPoolOptions::new().max_connections(1).observer(trace.clone());
        let pool = options.connect(&url).await.unwrap();
        let script = |text: &[u8]| Command::new("EVAL").arg(text).arg(0);
        // The server cuts what it repeats in the middle of a character.
        for n in 0..4 {
            let unknown =
                Command::new("NOSUCH").arg(format!("{}{}", "x".repeat(n), "é".repeat(99)));
            let echo = format!("echo {n}");
            let (refused, status, error, text, other) = tokio::join!(
                pool.run::<Value>(unknown),
                pool.run::<Value>(script(b"return {ok='a\xffb'}")),
                pool.run::<Value>(script(b"return {err='MILL a\xffb'}")),
                pool.run::<String>(script("return {ok='é'}".as_bytes())),
                pool.run::<String>(crate::support::echo(&echo)),
            );
            assert!(refused.unwrap_err().to_string().contains("NOSUCH"));
            let Value::Bytes(status) = status.unwrap() else { panic!("no status") };
            assert!(status.starts_with(b"a") && status.ends_with(b"b"), "{status:?}");
            assert_eq!(error.unwrap_err().code(), Some("MILL"));
            assert_eq!(text.unwrap(), "é");
            assert_eq!(other.unwrap(), echo);
        }
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
