//! Commands whose connection is lost: what was not sent is sent over another one.

use crate::support::{by_each_driver, can_subscribe, few, key, shared};
use millpond_redis::{Command, RedisError, Script, Value};
use millpond_testkit::variable;
use std::io::{Read, Write};
use std::net::TcpStream;

/// Ends a connection at its server. The runtime of the test does not run meanwhile, so that the
/// pool does not know yet.
fn kill(address: &str, id: i64) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("CLIENT KILL ID {id}\r\n").as_bytes()).unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b":1\r\n");
}

#[tokio::test]
async fn a_command_of_which_nothing_was_sent_is_sent_over_another_connection_and_only_once() {
    let Some(address) = variable("MILLPOND_TEST_REDIS_ADDRESS") else { return };
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    let id = || Command::new("CLIENT").arg("ID");
    for url in by_each_driver(&format!("redis://{address}")) {
        let own = few(1).connect(&url).await.unwrap();
        let shared = shared().max_connections(1).connect(&url).await.unwrap();
        let key = key("sent");
        let incr = || Command::new("INCR").key(&key);
        let mut count = 0;
        for round in 0..30 {
            let id: i64 = match round % 3 {
                0 => own.run(id()).await.unwrap(),
                _ => shared.run(id()).await.unwrap(),
            };
            kill(&address, id);
            // Now the runtime knows, and this task is the first that it runs.
            tokio::task::yield_now().await;
            let outcome = match round % 3 {
                0 => own.run::<i64>(incr()).await,
                1 => shared.run::<i64>(incr()).await,
                _ => script.call([&key], [0_u16; 0]).run::<i64>(&shared).await,
            };
            match outcome {
                Ok(new) => assert_eq!(new, count + 1),
                // redis-rs writes before it has noticed.
                Err(error) => assert!(error.is_ambiguous() && !can_subscribe(&url), "{error}"),
            }
            count = own.run::<i64>(crate::support::get(&key)).await.unwrap_or(0);
        }
    }
}

#[tokio::test]
async fn a_command_finds_a_new_connection_although_more_are_lost_than_it_may_try() {
    let Some(address) = variable("MILLPOND_TEST_REDIS_ADDRESS") else { return };
    let script = Script::new("return redis.call('INCR', KEYS[1])");
    // redis-rs writes before it has noticed.
    let urls = by_each_driver(&format!("redis://{address}"));
    for url in urls.iter().filter(|url| can_subscribe(url)) {
        let own = few(6).connect(url).await.unwrap();
        let shared = shared().max_connections(6).connect(url).await.unwrap();
        shared.as_core().set_acquires_per_turn(1);
        let id = || Command::new("CLIENT").arg("ID");
        let key = key("many");
        for round in 0..3 {
            let mut ids = Vec::new();
            let mut leases = Vec::new();
            for _ in 0..6 {
                leases.push(own.acquire().await.unwrap());
            }
            for lease in &mut leases {
                ids.push(lease.run::<i64>(id()).await.unwrap());
            }
            drop(leases);
            millpond_testkit::until("all are open", async || {
                let known = shared.run::<i64>(id()).await.unwrap();
                if !ids.contains(&known) {
                    ids.push(known);
                }
                ids.len() == 12
            })
            .await;
            ids.iter().for_each(|id| kill(&address, *id));
            // Now the runtime knows, and this task is the first that it runs.
            tokio::task::yield_now().await;
            let incr = || Command::new("INCR").key(&key);
            match round {
                0 => own.run::<i64>(incr()).await,
                1 => shared.run::<i64>(incr()).await,
                _ => script.call([&key], [0_u16; 0]).run::<i64>(&shared).await,
            }
            .unwrap();
        }
    }
}

#[tokio::test]
async fn a_transaction_ends_with_the_longest_limit_of_its_commands() {
    let server = crate::scripted::Scripted::start(|_, words| match &words[0][..] {
        b"MULTI" | b"SET" | b"EXEC" => Vec::new(),
        _ => crate::scripted::plain(words),
    })
    .await;
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        let pool = few(1).connect(&url).await.unwrap();
        let mut lease = pool.acquire().await.unwrap();
        let set = |ms| crate::support::set("k", 1).within(std::time::Duration::from_millis(ms));
        let outcome = lease.transaction::<Value>([set(20), set(40)]).await;
        let Err(RedisError::TimedOut { limit, .. }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(limit.as_millis(), 40);
    }
}

#[tokio::test]
async fn a_loop_over_a_lost_connection_lets_other_tasks_run() {
    for query in by_each_driver("") {
        let server = crate::scripted::Scripted::start(|_, words| match &words[0][..] {
            b"ECHO" => crate::scripted::HANG_UP.to_vec(),
            _ => crate::scripted::plain(words),
        })
        .await;
        let url = format!("redis://{}{query}", server.address);
        let own = few(1).connect(&url).await.unwrap();
        let shared = shared().max_connections(1).connect(&url).await.unwrap();
        let (mut own, shared) = (own.acquire().await.unwrap(), shared.acquire().await.unwrap());
        let is_unsent = |outcome: Result<Value, RedisError>| {
            matches!(outcome.unwrap_err(), RedisError::NotSent { .. })
        };
        let echo = || crate::support::echo("x");
        millpond_testkit::until("both are lost", async || {
            is_unsent(own.run(echo()).await) & is_unsent(shared.run(echo()).await)
        })
        .await;
        let subscribes = can_subscribe(&url);
        for call in ["own", "shared", "subscribe"] {
            if call == "subscribe" && !subscribes {
                continue;
            }
            let other = tokio::spawn(async {});
            let mut calls = 0;
            while !other.is_finished() {
                calls += 1;
                assert!(calls < 10_000, "nobody else runs");
                assert!(is_unsent(match call {
                    "own" => own.run(echo()).await,
                    "shared" => shared.run(echo()).await,
                    _ => own.subscribe(["c"]).await.map(|()| Value::Nil),
                }));
            }
        }
    }
}
