//! WATCH, MULTI and EXEC.

use crate::scripted::{Scripted, plain};
use crate::support::{any, by_each_driver, cluster, echo, few, get, key, set, single};
use millpond_redis::{Command, RedisError, Value, slot_of};

#[tokio::test]
async fn a_transaction_is_executed_as_a_whole_or_not_at_all() {
    for url in [single(), cluster()].into_iter().flatten().flat_map(|url| by_each_driver(&url)) {
        let pool = few(2).connect(&url).await.unwrap();
        let key = key("counter");
        let mut lease = pool.acquire().await.unwrap();
        let incr = || Command::new("INCR").key(&key);
        let both: Option<(i64, i64)> = lease.transaction([incr(), incr()]).await.unwrap();
        assert_eq!(both, Some((1, 2)));

        any(&mut lease, Command::new("WATCH").key(&key)).await;
        pool.run::<()>(set(&key, 10)).await.unwrap();
        let both: Option<(i64, i64)> = lease.transaction([incr(), incr()]).await.unwrap();
        assert_eq!(both, None, "somebody else has changed it");
        assert_eq!(lease.run::<i64>(get(&key)).await.unwrap(), 10);
    }
}

#[tokio::test]
async fn a_transaction_with_an_error_says_so_and_leaves_its_connection_fit() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&url).await.unwrap();
        let key = key("text");
        let mut lease = pool.acquire().await.unwrap();
        let error = lease
            .transaction::<Value>([set(&key, "x"), Command::new("INCR").key(&key)])
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some("ERR"), "{error}");
        assert_eq!(lease.run::<String>(get(&key)).await.unwrap(), "x", "the others were executed");
        let error =
            lease.transaction::<Value>([set(&key, "y"), Command::new("NOSUCH")]).await.unwrap_err();
        assert!(
            error.to_string().contains("NOSUCH") || error.code() == Some("EXECABORT"),
            "{error}"
        );
        assert_eq!(lease.run::<String>(get(&key)).await.unwrap(), "x", "nothing was executed");
    }
}

#[tokio::test]
async fn a_transaction_takes_no_command_that_changes_the_session() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        for command in [
            Command::new("SELECT").arg(1),
            Command::new("BLPOP").key("k").arg(1),
            Command::new("EXEC"),
        ] {
            let error = lease.transaction::<Value>([command]).await.unwrap_err();
            assert!(matches!(error, RedisError::Refused { .. }), "{error}");
        }
        assert!(lease.transaction::<Value>([]).await.is_err());
    }
}

#[tokio::test]
async fn counting_by_watch_loses_no_count() {
    for url in [single(), cluster()].into_iter().flatten().flat_map(|url| by_each_driver(&url)) {
        let pool = few(4).connect(&url).await.unwrap();
        let key = key("watched-counter");
        let count = async |pool: millpond_redis::RedisPool, key: String| {
            for _ in 0..25 {
                loop {
                    let mut lease = pool.acquire().await.unwrap();
                    any(&mut lease, Command::new("WATCH").key(&key)).await;
                    let n: Option<i64> = lease.run(get(&key)).await.unwrap();
                    let done: Option<Vec<Value>> =
                        lease.transaction([set(&key, n.unwrap_or(0) + 1)]).await.unwrap();
                    if done.is_some() {
                        break;
                    }
                }
            }
        };
        let tasks = (0..4).map(|_| count(pool.clone(), key.clone()));
        futures_util::future::join_all(tasks).await;
        assert_eq!(pool.run::<i64>(get(&key)).await.unwrap(), 100);
    }
}

#[tokio::test]
async fn a_transaction_that_the_server_did_not_begin_may_have_been_executed_and_says_so() {
    let server = Scripted::start(|_, words| match &words[0][..] {
        b"MULTI" => b"-ERR no transactions here\r\n".to_vec(),
        _ => plain(words),
    })
    .await;
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        let pool = few(1).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let error = lease.transaction::<Value>([set("a", 1), set("b", 2)]).await.unwrap_err();
        assert!(
            error.is_ambiguous() && error.to_string().contains("no transactions here"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_transaction_without_keys_is_executed_unless_a_watched_key_has_changed() {
    for url in [single(), cluster()].into_iter().flatten().flat_map(|url| by_each_driver(&url)) {
        let pool = few(2).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        // Masters have a third of the slots each.
        for third in 0..3 {
            let watched = std::iter::repeat_with(|| key("watched"))
                .find(|key| slot_of(key.as_bytes()) / 5462 == third)
                .unwrap();
            any(&mut lease, Command::new("WATCH").key(&watched)).await;
            let done: Option<Vec<String>> = lease.transaction([echo("a")]).await.unwrap();
            assert_eq!(done, Some(vec!["a".to_owned()]));
            any(&mut lease, Command::new("WATCH").key(&watched)).await;
            pool.run::<()>(set(&watched, 1)).await.unwrap();
            assert_eq!(lease.transaction::<Value>([echo("a")]).await.unwrap(), None);
        }
    }
}

#[tokio::test]
async fn after_a_watch_at_two_nodes_nothing_passes_for_a_transaction() {
    let Some(url) = cluster() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&url).await.unwrap();
        // Masters have a third of the slots each.
        let third = |key: &str| slot_of(key.as_bytes()) / 5462;
        let one = key("one");
        let other = std::iter::repeat_with(|| key("other"))
            .find(|other| third(other) != third(&one))
            .unwrap();
        let mut lease = pool.acquire().await.unwrap();
        lease.run::<()>(Command::new("WATCH").key(&one)).await.unwrap();
        assert!(lease.run::<()>(Command::new("WATCH").key(&other)).await.is_err());
        for key in [&one, &other] {
            assert!(lease.transaction::<Value>([set(key, 1)]).await.is_err());
        }
        drop(lease);
        for key in [&one, &other] {
            assert_eq!(pool.run::<Value>(get(key)).await.unwrap(), Value::Nil);
        }
    }
}
