//! What a borrower does to the session never reaches the next one.

use crate::support::{
    any, by_each_driver, can_subscribe, cluster, echo, few, get, id, key, next_is_clean, set,
    single,
};
use millpond_core::CloseReason;
use millpond_redis::{Command, RedisError, RedisPool, Value, slot_of};
use millpond_testkit::{Trace, poll_n, until};
use std::time::Duration;

/// A pool of one connection, the warnings that it reported, and the connection's number.
async fn one(url: &str) -> (RedisPool, Trace, i64) {
    let trace = Trace::new();
    let pool = few(1).observer(trace.clone()).connect(url).await.unwrap();
    let id = id(&mut pool.acquire().await.unwrap()).await;
    (pool, trace, id)
}

#[tokio::test]
async fn a_watch_and_another_database_are_undone_on_the_same_connection() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let (pool, _, before) = one(&url).await;
        let key = key("watched");
        let mut lease = pool.acquire().await.unwrap();
        any(&mut lease, Command::new("WATCH").key(&key)).await;
        any(&mut lease, Command::new("SELECT").arg(5)).await;
        drop(lease);
        assert_eq!(next_is_clean(&pool).await, before, "it was not worth closing");
        // The watch is gone: a change of the key does not disturb the next borrower's transaction.
        let mut lease = pool.acquire().await.unwrap();
        few(1).connect(&url).await.unwrap().run::<()>(set(&key, 1)).await.unwrap();
        let done: Option<Vec<Value>> = lease.transaction([set(&key, 2)]).await.unwrap();
        assert!(done.is_some());
    }
}

#[tokio::test]
async fn a_user_without_the_right_to_echo_gets_a_clean_connection_back() {
    let Some(url) = single() else { return };
    let admin = few(1).connect(&url).await.unwrap();
    let rights = ["on", ">pw", "~*", "+get", "+set", "+watch", "+unwatch", "+hello", "+auth"];
    let more = ["+client", "+ping", "+select"];
    let user = key("user").replace(':', "-");
    let command = Command::new("ACL").arg("SETUSER").arg(&user).args(rights).args(more);
    admin.run::<()>(command).await.unwrap();
    for url in by_each_driver(&url.replace("redis://", &format!("redis://{user}:pw@"))) {
        let (pool, _, before) = one(&url).await;
        let mut lease = pool.acquire().await.unwrap();
        lease.run::<()>(Command::new("WATCH").key("k")).await.unwrap();
        drop(lease);
        assert_eq!(id(&mut pool.acquire().await.unwrap()).await, before, "{url}");
    }
    admin.run::<()>(Command::new("ACL").arg("DELUSER").arg(&user)).await.unwrap();
}

#[tokio::test]
async fn a_wait_that_somebody_ends_is_no_failover_and_costs_no_connection() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let (pool, trace, before) = one(&url).await;
        let admin = few(1).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let waiting = lease.run::<Value>(Command::new("BLPOP").key(key("none")).arg(10));
        let ending = async {
            let unblock = || Command::new("CLIENT").arg("UNBLOCK").arg(before).arg("ERROR");
            while admin.run::<i64>(unblock()).await.unwrap() == 0 {}
        };
        let (outcome, ()) = tokio::join!(waiting, ending);
        let error = outcome.unwrap_err();
        assert!(error.code() == Some("UNBLOCKED") && !error.is_outage(), "{error}");
        drop(lease);
        assert_eq!(next_is_clean(&pool).await, before);
        assert!(trace.closed().is_empty());
    }
}

#[tokio::test]
async fn what_only_a_new_connection_has_not_costs_the_connection() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        for line in ["CLIENT SETNAME mill", "CLIENT NO-EVICT ON", "CLIENT TRACKING ON"] {
            let (pool, trace, before) = one(&url).await;
            let mut words = line.split(' ');
            let command = Command::new(words.next().unwrap().to_owned()).args(words);
            let _ = any(&mut pool.acquire().await.unwrap(), command).await;
            assert_ne!(next_is_clean(&pool).await, before, "{line}");
            assert_eq!(trace.closed(), [CloseReason::Unverified], "{line}");
        }
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_not_sent() {
    let Some(url) = single() else { return };
    let (pool, _, before) = one(&url).await;
    for line in [
        "CLIENT REPLY OFF",
        "MONITOR",
        "MULTI",
        "SUBSCRIBE c",
        "RESET",
        "HELLO 3",
        "BLPOP k 0",
        "QUIT",
    ] {
        let mut words = line.split(' ');
        let command = Command::new(words.next().unwrap().to_owned()).args(words);
        let error = pool.run::<Value>(command).await.unwrap_err();
        assert!(matches!(error, RedisError::Refused { .. }), "{line}: {error}");
    }
    assert_eq!(next_is_clean(&pool).await, before);
}

#[tokio::test]
async fn an_abandoned_blpop_takes_nothing_and_is_never_lent_on() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let (pool, trace, before) = one(&url).await;
        let other = few(1).connect(&url).await.unwrap();
        let key = key("list");
        let mut lease = pool.acquire().await.unwrap();
        let waiting = lease.run::<Value>(Command::new("BLPOP").key(&key).arg(60));
        assert!(tokio::time::timeout(Duration::from_millis(50), waiting).await.is_err());
        drop(lease);
        assert_ne!(next_is_clean(&pool).await, before);
        assert_eq!(trace.closed(), [CloseReason::Unverified]);
        // The server knows that nobody waits any more: what is pushed stays.
        other.run::<()>(Command::new("RPUSH").key(&key).arg("x")).await.unwrap();
        assert_eq!(other.run::<i64>(Command::new("LLEN").key(&key)).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_blpop_waits_longer_than_other_commands_may() {
    let Some(url) = single() else { return };
    let blocking = by_each_driver(&url).into_iter().map(|url| async move {
        let pool = few(1).command_timeout(Duration::from_millis(2500)).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let before = id(&mut lease).await;
        for timeout in ["3", "0x1.8p1"] {
            let nothing: Option<Vec<String>> =
                lease.run(Command::new("BLPOP").key(key("none")).arg(timeout)).await.unwrap();
            assert_eq!(nothing, None);
        }
        drop(lease);
        assert_eq!(next_is_clean(&pool).await, before);
    });
    futures_util::future::join_all(blocking).await;
}

#[tokio::test]
async fn a_blpop_that_would_wait_for_ever_is_not_sent_however_its_zero_is_spelt() {
    let Some(url) = single() else { return };
    let pool = few(1).connect(&url).await.unwrap();
    for zero in ["0", "0x0", "-0.0", "0e5", "+0"] {
        let error = pool.run::<Value>(Command::new("BLPOP").key("k").arg(zero)).await.unwrap_err();
        assert!(matches!(error, RedisError::Refused { .. }), "{zero}: {error}");
    }
    let error = pool.run::<Value>(Command::new("BLPOP").key("k").arg("x")).await.unwrap_err();
    assert_eq!(error.code(), Some("ERR"), "{error}");
}

#[tokio::test]
async fn what_on_connect_has_set_is_there_for_every_borrower() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        let trace = Trace::new();
        let pool = few(1).observer(trace.clone()).on_connect(|conn, _| {
            Box::pin(async move {
                conn.run::<()>(Command::new("CLIENT").args(["SETNAME", "mill"])).await?;
                conn.run::<()>(Command::new("SELECT").arg(5)).await?;
                Ok(())
            })
        });
        let pool = pool.connect(&url).await.unwrap();
        let mut ids = std::collections::HashSet::new();
        for round in 0..4 {
            let mut lease = pool.acquire().await.unwrap();
            let info: String = lease.run(Command::new("CLIENT").arg("INFO")).await.unwrap();
            assert!(info.contains("name=mill ") && info.contains("db=5 "), "{round}: {info}");
            ids.insert(id(&mut lease).await);
            match round {
                0 => any(&mut lease, Command::new("SELECT").arg(3)).await,
                1 => any(&mut lease, Command::new("WATCH").key("k")).await,
                _ => any(&mut lease, get("k")).await,
            };
        }
        assert_eq!(ids.len(), 1, "none of that was worth closing");
        assert_eq!(trace.closed(), []);
        any(&mut pool.acquire().await.unwrap(), Command::new("CLIENT").args(["SETNAME", "other"]))
            .await;
        let info: String = pool.run(Command::new("CLIENT").arg("INFO")).await.unwrap();
        assert!(info.contains("name=mill ") && info.contains("db=5 "), "{info}");
        assert_eq!(trace.closed(), [CloseReason::Unverified]);
    }
}

#[tokio::test]
async fn a_command_without_an_answer_in_time_costs_its_connection() {
    // One of its own, since it is stopped.
    let Some(server) = millpond_testkit::OwnServer::or_skip("redis") else { return };
    let trace = Trace::new();
    let options = few(1).observer(trace.clone()).command_timeout(Duration::from_millis(500));
    let pool = options.connect(server.url()).await.unwrap();
    let mut lease = pool.acquire().await.unwrap();
    server.signal("REDIS", "STOP").unwrap();
    let slow = Command::new("EVAL").arg("return 1").arg(0);
    let error = lease.run::<Value>(slow).await.unwrap_err();
    assert!(error.is_ambiguous() && error.to_string().contains("EVAL"), "{error}");
    drop(lease);
    until("the connection is closed", async || trace.closed() == [CloseReason::Unverified]).await;
}

#[tokio::test]
async fn in_a_cluster_a_watch_is_undone_as_well() {
    let Some(url) = cluster() else { return };
    for url in by_each_driver(&url) {
        let (pool, trace, _) = one(&url).await;
        let key = key("watched");
        any(&mut pool.acquire().await.unwrap(), Command::new("WATCH").key(&key)).await;
        let mut lease = pool.acquire().await.unwrap();
        few(1).connect(&url).await.unwrap().run::<()>(set(&key, 1)).await.unwrap();
        let done: Option<Vec<Value>> = lease.transaction([set(&key, 2)]).await.unwrap();
        assert!(done.is_some(), "the watch of the last borrower still held");
        assert!(trace.closed().is_empty());
    }
}

#[tokio::test]
async fn in_a_cluster_a_watch_that_was_cut_off_does_not_reach_the_next_borrower() {
    let Some(url) = cluster() else { return };
    for url in by_each_driver(&url) {
        let other = few(1).connect(&url).await.unwrap();
        // Masters have a third of the slots each.
        let of_third = |third| {
            let mut keys = std::iter::repeat_with(|| key("watched"));
            keys.find(|key| slot_of(key.as_bytes()) / 5462 == third).unwrap()
        };
        for (third, next) in (0..3).flat_map(|third| {
            ["nothing", "a command", "a transaction elsewhere"].map(|next| (third, next))
        }) {
            let pool = few(1).connect(&url).await.unwrap();
            let (key, elsewhere) = (of_third(third), of_third((third + 1) % 3));
            let mut lease = pool.acquire().await.unwrap();
            any(&mut lease, get(&key)).await;
            let watch = lease.run::<Value>(Command::new("WATCH").key(&key));
            assert!(poll_n(watch, 1).await.is_none());
            match next {
                "nothing" => {}
                "a command" => drop(any(&mut lease, get(&key)).await),
                _ => {
                    let done: Option<Value> =
                        lease.transaction([set(&elsewhere, 1)]).await.unwrap();
                    assert!(done.is_some());
                }
            }
            drop(lease);
            let mut lease = pool.acquire().await.unwrap();
            any(&mut lease, get(&key)).await;
            other.run::<()>(set(&key, 1)).await.unwrap();
            let done: Option<Vec<Value>> = lease.transaction([set(&key, 2)]).await.unwrap();
            assert!(done.is_some(), "the watch of the last borrower still held after {next}");
        }
    }
}

#[tokio::test]
async fn a_limit_of_centuries_is_one() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        for limit in [Duration::MAX, Duration::from_secs(u64::MAX / 1000)] {
            let options = few(1).command_timeout(limit).connect(&url).await.unwrap();
            let mut lease = options.acquire().await.unwrap();
            let nonce = key("nonce");
            let echo = echo(&nonce).within(limit);
            assert_eq!(lease.run::<String>(echo).await.unwrap(), nonce);
            let pop = Command::new("BLPOP").key(&nonce).arg("0.3").within(limit);
            assert_eq!(lease.run::<Option<Vec<String>>>(pop).await.unwrap(), None);
            if can_subscribe(&url) {
                lease.subscribe([&nonce]).await.unwrap();
                assert!(poll_n(lease.message(limit), 1).await.is_none());
            }
        }
    }
}

#[tokio::test]
async fn in_a_cluster_no_user_is_changed_at_one_node_only() {
    let Some(url) = cluster() else { return };
    for url in by_each_driver(&url) {
        let pool = few(1).connect(&url).await.unwrap();
        let auth = Command::new("AUTH").args(["default", "secret"]);
        let error = pool.run::<Value>(auth).await.unwrap_err();
        assert!(matches!(error, RedisError::Refused { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("RedisConnectOptions::login") && !text.contains("secret"), "{text}");
    }
}
