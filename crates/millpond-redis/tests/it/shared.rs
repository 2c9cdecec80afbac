//! Connections that many use at once.

use crate::support::{by_each_driver, get, key, set, shared, single};
use millpond_redis::{Command, RedisError, SharedRedisLease, Value};
use millpond_testkit::Trace;

#[tokio::test]
async fn a_thousand_borrowers_share_four_sockets() {
    let Some(url) = single() else { return };
    let pool = shared().connect(&url).await.unwrap();
    let key = key("shared");
    pool.run::<()>(set(&key, 1)).await.unwrap();
    let reads = (0..1000).map(|_| pool.run::<i64>(get(&key)));
    assert!(futures_util::future::join_all(reads).await.into_iter().all(|read| read.unwrap() == 1));
    assert!(pool.status().totals.peak <= 5);
}

#[tokio::test]
async fn what_would_disturb_the_others_is_not_sent() {
    let Some(url) = single() else { return };
    let pool = shared().connect(&url).await.unwrap();
    for command in [
        Command::new("SELECT").arg(1),
        Command::new("WATCH").key("k"),
        Command::new("BLPOP").key("k").arg(1),
        Command::new("MULTI"),
        Command::new("CLIENT").arg("SETNAME").arg("x"),
        Command::new("SUBSCRIBE").arg("c"),
        Command::new("AUTH").arg("x"),
    ] {
        let error = pool.run::<Value>(command).await.unwrap_err();
        assert!(matches!(error, RedisError::Refused { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_lost_connection_is_replaced_before_anybody_gets_it() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let trace = Trace::new();
        let pool = shared().max_connections(1).observer(trace.clone()).connect(&url).await.unwrap();
        let lease: SharedRedisLease = pool.acquire().await.unwrap();
        let id: i64 = lease.run(Command::new("CLIENT").arg("ID")).await.unwrap();
        let kill = Command::new("CLIENT").arg("KILL").arg("ID").arg(id);
        crate::support::few(1).connect(&url).await.unwrap().run::<i64>(kill).await.unwrap();
        assert!(lease.run::<Value>(Command::new("PING")).await.unwrap_err().is_outage());
        drop(lease);
        for _ in 0..3 {
            assert_ne!(pool.run::<i64>(Command::new("CLIENT").arg("ID")).await.unwrap(), id);
        }
        assert_eq!(trace.closed().len(), 1);
    }
}

#[tokio::test]
async fn an_idempotent_command_survives_the_loss_of_its_connection() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let pool = shared().max_connections(1).connect(&url).await.unwrap();
        let other = crate::support::few(1).connect(&url).await.unwrap();
        for _ in 0..20 {
            let id: i64 = pool.run(Command::new("CLIENT").arg("ID").idempotent()).await.unwrap();
            let kill = other.run::<i64>(Command::new("CLIENT").arg("KILL").arg("ID").arg(id));
            let ping = pool.run::<String>(Command::new("PING").idempotent());
            let (kill, ping) = tokio::join!(kill, ping);
            assert_eq!((kill.unwrap(), ping.unwrap().as_str()), (1, "PONG"));
        }
    }
}
