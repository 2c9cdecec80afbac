//! Servers that do not answer, and callers who do not wait for it.

use crate::scripted::{Scripted, plain};
use crate::support::{by_each_driver, get, key};
use millpond_core::{ConnectInfo, Manager};
use millpond_redis::{
    Command, RedisClient, RedisError, SharedRedisManager, SharedRedisPool, SharedRedisPoolOptions,
    Value,
};
use millpond_testkit::until;
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(500);

/// A server that answers no `HANG` and nothing behind it, and a pool of one connection to it over
/// each driver.
async fn hanging() -> (Scripted, Vec<SharedRedisPool>) {
    let hung = std::sync::Mutex::new(std::collections::HashSet::new());
    let server = Scripted::start(move |connection, words| {
        let mut hung = hung.lock().unwrap();
        if words[0] == b"HANG" {
            hung.insert(connection);
        }
        if hung.contains(&connection) { Vec::new() } else { plain(words) }
    })
    .await;
    let mut pools = Vec::new();
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        let options = SharedRedisPoolOptions::new().max_connections(1).command_timeout(LIMIT);
        pools.push(options.connect(&url).await.unwrap());
    }
    (server, pools)
}

/// Whether a command is refused since the connection has ended.
async fn has_ended(client: &RedisClient) -> bool {
    let outcome = client.run::<Value>(get("a").within(Duration::from_millis(5))).await;
    outcome.is_err_and(|error| !matches!(error, RedisError::TimedOut { .. }))
}

#[tokio::test]
async fn callers_who_do_not_wait_long_do_not_keep_a_silent_connection_open() {
    let (_server, pools) = hanging().await;
    for pool in pools {
        let lease = pool.acquire().await.unwrap();
        assert!(
            lease
                .run::<Value>(Command::new("HANG").within(Duration::from_millis(5)))
                .await
                .is_err()
        );
        until("it ends", async || has_ended(&lease).await).await;
        drop(lease);
        let nonce = key("nonce");
        // Within a time in which it is answered, however busy the machine is.
        let answer = pool.run::<String>(get(&nonce).within(Duration::from_secs(10))).await;
        assert_eq!(answer.unwrap(), nonce, "another one takes its place");
    }
}

#[tokio::test]
async fn a_silent_connection_ends_even_if_nobody_waits() {
    let (server, pools) = hanging().await;
    for pool in pools {
        let lease = pool.acquire().await.unwrap();
        let before = server.open();
        for _ in 0..3 {
            // Sent, and cut off long before its limit.
            let hanging = lease.run::<Value>(Command::new("HANG"));
            let outcome = tokio::time::timeout(LIMIT / 10, hanging).await;
            assert!(!matches!(outcome, Ok(Ok(_))), "{outcome:?}");
        }
        until("it is closed", async || server.open() < before).await;
    }
}

#[tokio::test]
async fn a_ping_that_the_server_refuses_takes_the_connection_from_nobody() {
    let server = Scripted::start(|_, words| match &words[0][..] {
        b"PING" if words.len() > 1 => b"-ERR not now\r\n".to_vec(),
        _ => plain(words),
    })
    .await;
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        let manager = SharedRedisManager::new(url.parse().unwrap());
        let info = ConnectInfo::first("test", LIMIT * 10);
        let mut client = manager.connect(&info).await.unwrap();
        assert!(manager.ping(&mut client).await.is_err());
        assert_eq!(client.run::<String>(get("a")).await.unwrap(), "a");
    }
}
