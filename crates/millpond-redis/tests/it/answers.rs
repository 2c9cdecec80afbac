//! Answers that look like something else: messages, redirections, errors.

use crate::scripted::{Scripted, plain};
use crate::support::{by_each_driver, cluster, few, get, key, set, shared, single};
use millpond_redis::{
    Command, RedisError, RedisPool, SharedRedisPool, SharedRedisPoolOptions, Value, slot_of,
};
use std::collections::HashMap;
use std::time::Duration;

/// Lists that pub/sub or the drivers know as something of their own.
const LISTS: [&[&str]; 14] = [
    &["message", "from", "somebody"],
    &["smessage", "a", "b"],
    &["subscribe", "a", "1"],
    &["psubscribe", "a", "1"],
    &["unsubscribe", "a", "1"],
    &["punsubscribe", "a", "b", "0"],
    &["sunsubscribe", "a", "1"],
    &["pmessage", "a", "b", "c"],
    &["pubsub", "message", "a", "b"],
    &["pubsub", "pmessage", "a", "b", "c"],
    &["pubsub", "subscribe", "a"],
    &["invalidate", "a"],
    &["pong", ""],
    &["message", "", "\r\n$1\r\nx\r\n"],
];

/// Texts that look like errors, answers or redirections.
const TEXTS: [&str; 12] = [
    "MOVED 7 127.0.0.1:1",
    "MOVED 0 :1",
    "ASK 7 127.0.0.1:1",
    "TRYAGAIN x",
    "CLUSTERDOWN The cluster is down",
    "-ERR x",
    "ERR x",
    "+OK",
    "QUEUED",
    ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
    "ERR Client sent AUTH, but no password is set",
    "NOAUTH Authentication required.",
];

/// A pool of either kind.
#[derive(Clone)]
enum Either {
    Own(RedisPool),
    Shared(SharedRedisPool),
}

impl Either {
    /// Of one connection, so that the next caller gets it.
    async fn of(url: &str) -> [Self; 2] {
        [
            Self::Own(few(1).connect(url).await.unwrap()),
            Self::Shared(shared().max_connections(1).connect(url).await.unwrap()),
        ]
    }

    async fn run<T: millpond_redis::FromValue>(&self, command: Command) -> Result<T, RedisError> {
        match self {
            Self::Own(pool) => pool.run(command).await,
            Self::Shared(pool) => pool.run(command).await,
        }
    }
}

/// Every kind of pool, over either driver, to a server and to a cluster.
async fn pools() -> Vec<Either> {
    let mut pools = Vec::new();
    for url in [single(), cluster()].into_iter().flatten().flat_map(|url| by_each_driver(&url)) {
        pools.extend(Either::of(&url).await);
    }
    pools
}

#[tokio::test]
async fn a_list_is_a_list_whatever_it_begins_with() {
    for pool in pools().await {
        for list in LISTS {
            let key = key("list");
            pool.run::<()>(Command::new("RPUSH").key(&key).args(list.iter().copied()))
                .await
                .unwrap();
            let all = Command::new("LRANGE").key(&key).arg(0).arg(-1);
            assert_eq!(pool.run::<Vec<String>>(all).await.unwrap(), list);
            let script = "return redis.call('LRANGE', KEYS[1], 0, -1)";
            let eval = Command::new("EVAL").arg(script).arg(1).key(&key);
            assert_eq!(pool.run::<Vec<String>>(eval).await.unwrap(), list);
            let nested = "return {redis.call('LRANGE', KEYS[1], 0, -1)}";
            let nested = Command::new("EVAL").arg(nested).arg(1).key(&key);
            assert_eq!(pool.run::<Vec<Vec<String>>>(nested).await.unwrap(), [list]);
            if let Either::Own(own) = &pool {
                let mut lease = own.acquire().await.unwrap();
                let gets = list.iter().map(|text| {
                    Command::new("EVAL").arg("return ARGV[1]").arg(1).key(&key).arg(*text)
                });
                assert_eq!(lease.transaction::<Vec<String>>(gets).await.unwrap().unwrap(), list);
            }
            let pop = Command::new("LPOP").key(&key).arg(list.len());
            assert_eq!(pool.run::<Vec<String>>(pop).await.unwrap(), list);
            let nonce = crate::support::key("nonce");
            assert_eq!(pool.run::<String>(Command::new("ECHO").arg(&nonce)).await.unwrap(), nonce);
        }
        let key = key("hash");
        pool.run::<()>(Command::new("HSET").key(&key).args(["message", "a", "pmessage", "b"]))
            .await
            .unwrap();
        let all: HashMap<String, String> =
            pool.run(Command::new("HGETALL").key(&key)).await.unwrap();
        assert_eq!((all.len(), all["message"].as_str()), (2, "a"));
    }
}

#[tokio::test]
async fn lists_of_chance_come_back_as_they_were_written() {
    let words: Vec<&str> = LISTS.into_iter().flatten().copied().chain(TEXTS).collect();
    let mut random = fastrand::Rng::with_seed(3);
    for pool in pools().await {
        for _ in 0..100 {
            let key = key("chance");
            let list: Vec<&str> =
                (0..random.usize(1..7)).map(|_| words[random.usize(..words.len())]).collect();
            let push = Command::new("RPUSH").key(&key).args(list.iter().copied());
            assert_eq!(pool.run::<usize>(push).await.unwrap(), list.len());
            let read = match random.u32(..3) {
                0 => Command::new("LRANGE").key(&key).arg(0).arg(-1),
                1 => Command::new("EVAL")
                    .arg("return ARGV")
                    .arg(1)
                    .key(&key)
                    .args(list.iter().copied()),
                _ => Command::new("LPOP").key(&key).arg(list.len()),
            };
            assert_eq!(pool.run::<Vec<String>>(read).await.unwrap(), list);
            pool.run::<()>(Command::new("DEL").key(&key)).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_looks_like_a_message_leaves_all_others_their_own_answers() {
    for pool in pools().await {
        let inbox = key("inbox");
        pool.run::<()>(Command::new("RPUSH").key(&inbox).args(["message", "from", "somebody"]))
            .await
            .unwrap();
        let tasks = (0..8).map(|task| {
            let (pool, inbox) = (pool.clone(), inbox.clone());
            tokio::spawn(async move {
                let own = key(&format!("own:{task}"));
                pool.run::<()>(set(&own, &own)).await.unwrap();
                for n in 0..50 {
                    assert_eq!(pool.run::<String>(get(&own)).await.unwrap(), own);
                    if n % 10 == task {
                        let all = Command::new("LRANGE").key(&inbox).arg(0).arg(-1);
                        assert_eq!(pool.run::<Vec<String>>(all).await.unwrap().len(), 3);
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_text_is_a_text_whatever_it_says_and_is_taken_once() {
    for pool in pools().await {
        for text in TEXTS {
            let key = key("text");
            pool.run::<()>(set(&key, text)).await.unwrap();
            assert_eq!(pool.run::<String>(get(&key)).await.unwrap(), text);
            assert_eq!(pool.run::<String>(Command::new("GETDEL").key(&key)).await.unwrap(), text);
            pool.run::<()>(Command::new("RPUSH").key(&key).args([text, "next", "last"]))
                .await
                .unwrap();
            assert_eq!(pool.run::<String>(Command::new("LPOP").key(&key)).await.unwrap(), text);
            assert_eq!(pool.run::<i64>(Command::new("LLEN").key(&key)).await.unwrap(), 2);
            // As a status and not as a text, which has no line ends.
            if !text.contains('\r') {
                let status =
                    Command::new("EVAL").arg("return {ok = ARGV[1]}").arg(1).key(&key).arg(text);
                assert_eq!(pool.run::<String>(status).await.unwrap(), text);
            }
        }
    }
}

#[tokio::test]
async fn an_error_of_a_script_is_its_own_and_the_script_runs_once() {
    for pool in pools().await {
        for text in [
            "MOVED 7 127.0.0.1:1",
            "ASK 7 127.0.0.1:1",
            "MOVED SLOT 127.0.0.1:1",
            "ASK SLOT 127.0.0.1:1",
            "TRYAGAIN later",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "NOSCRIPT of my own",
            "ERR Client sent AUTH, but no password is set",
        ] {
            let count = key("count");
            let text = &text.replace("SLOT", &slot_of(count.as_bytes()).to_string());
            let script = "redis.call('INCR', KEYS[1]) return redis.error_reply(ARGV[1])";
            let eval = || Command::new("EVAL").arg(script).arg(1).key(&count).arg(text);
            let error = pool.run::<Value>(eval()).await.unwrap_err();
            assert!(matches!(error, RedisError::Server { .. }), "{error}");
            assert_eq!(pool.run::<i64>(get(&count)).await.unwrap(), 1, "{text}");
            // Without a key that would say which slots it is about.
            let without = Command::new("EVAL").arg("return redis.error_reply(ARGV[1])").arg(0);
            let error = pool.run::<Value>(without.arg(text)).await.unwrap_err();
            assert_eq!(error.to_string(), *text);
            if let Either::Own(own) = &pool {
                let mut lease = own.acquire().await.unwrap();
                let error = lease.transaction::<Value>([eval()]).await.unwrap_err();
                assert!(matches!(error, RedisError::Server { .. }), "{error}");
                assert_eq!(lease.run::<i64>(get(&count)).await.unwrap(), 2, "{text}");
            }
        }
    }
}

#[tokio::test]
async fn a_long_answer_and_one_of_many_parts_arrive_whole() {
    for pool in pools().await {
        let (long, many) = (key("long"), key("many"));
        let text = "\r\n*3\r\n".repeat(200_000);
        pool.run::<()>(set(&long, &text).arg("EX").arg(60)).await.unwrap();
        assert!(pool.run::<String>(get(&long)).await.unwrap() == text);
        let parts: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        pool.run::<()>(Command::new("RPUSH").key(&many).args(&parts)).await.unwrap();
        assert!(
            pool.run::<Vec<String>>(Command::new("LRANGE").key(&many).arg(0).arg(-1))
                .await
                .unwrap()
                == parts
        );
        pool.run::<()>(Command::new("DEL").key(&many)).await.unwrap();
    }
}

/// Runs so many commands at a time, and asserts that each gets its own answer. Returns how often a
/// connection was opened.
async fn all_are_answered_with_their_own(url: &str, at_a_time: usize) -> Vec<u64> {
    let mut created = Vec::new();
    for pool in Either::of(url).await {
        let mut right = 0;
        while right < 40 {
            let nonces: Vec<String> = (0..at_a_time).map(|_| key("nonce")).collect();
            let answers = futures_util::future::join_all(
                nonces.iter().map(|nonce| pool.run::<String>(Command::new("GET").key(nonce))),
            );
            for (nonce, answer) in nonces.iter().zip(answers.await) {
                match answer {
                    Ok(answer) => {
                        assert_eq!(answer, *nonce);
                        right += 1;
                    }
                    Err(error) => assert!(
                        error.is_outage() || error.code() == Some("ERR"),
                        "{error} of a command that was answered"
                    ),
                }
            }
        }
        created.push(match &pool {
            Either::Own(own) => own.status().totals.created,
            Either::Shared(shared) => shared.status().totals.created,
        });
    }
    created
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_ends_the_connection_and_reaches_nobody() {
    for stray in
        ["$5\r\nstray\r\n", "-ERR stray\r\n", "*1\r\n:7\r\n", "_\r\n", "+OK\r\n-ERR stray\r\n"]
    {
        for query in by_each_driver("") {
            let server = Scripted::start(move |connection, words| {
                let is_stray = connection < 2 && words[0] == b"GET";
                [&plain(words)[..], if is_stray { stray.as_bytes() } else { b"" }].concat()
            })
            .await;
            // Behind others an answer too many is the next one's: only a count finds it out.
            let url = format!("redis://{}{query}", server.address);
            let created = all_are_answered_with_their_own(&url, 1).await;
            assert!(created[0] > 1, "{stray:?}: it lives on");
        }
    }
}

#[tokio::test]
async fn a_push_that_nobody_has_asked_for_is_no_answer_whatever_it_says() {
    for push in [
        ">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n",
        ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
        ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n",
        ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
        ">1\r\n$4\r\nPONG\r\n",
        ">0\r\n",
    ] {
        let server = Scripted::start(move |_, words| {
            [push.as_bytes(), &plain(words), push.as_bytes()].concat()
        })
        .await;
        for url in by_each_driver(&format!("redis://{}", server.address)) {
            let created = all_are_answered_with_their_own(&url, 3).await;
            assert_eq!(created[1], 1, "{push:?} ends the connection");
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_ends_the_connection_with_the_first_wait_that_times_out() {
    // From the second on every caller would get the answer to the next question.
    let server =
        Scripted::start(|_, words| if words[0] == b"LOSE" { Vec::new() } else { plain(words) })
            .await;
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        let options = SharedRedisPoolOptions::new()
            .max_connections(1)
            .command_timeout(Duration::from_millis(500));
        let pool = options.connect(&url).await.unwrap();
        let lease = pool.acquire().await.unwrap();
        let (lost, late) =
            tokio::join!(lease.run::<Value>(Command::new("LOSE")), lease.run::<String>(get("a")));
        assert!(lost.is_err() || late.is_err(), "{url}: {lost:?} {late:?}");
        drop(lease);
        for _ in 0..5 {
            let nonce = key("nonce");
            // Within a time in which it is answered, however busy the machine is.
            let answer = pool.run::<String>(get(&nonce).within(Duration::from_secs(10))).await;
            assert_eq!(answer.unwrap(), nonce, "{url}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_out_of_sync_is_closed_by_its_next_ping() {
    use millpond_core::{ConnectInfo, Manager};
    use millpond_redis::{RedisConnectOptions, SharedRedisManager};
    // One answer is missing, as behind a proxy that drops it: from then on all are somebody else's.
    let server =
        Scripted::start(|_, words| if words[0] == b"LOSE" { Vec::new() } else { plain(words) })
            .await;
    for url in by_each_driver(&format!("redis://{}", server.address)) {
        let manager = SharedRedisManager::new(url.parse::<RedisConnectOptions>().unwrap());
        let mut client =
            manager.connect(&ConnectInfo::first("test", Duration::from_secs(5))).await.unwrap();
        let lost = millpond_testkit::poll_n(client.run::<Value>(Command::new("LOSE")), 2).await;
        assert!(lost.is_none());
        let mut other = client.clone();
        let (one, two) = tokio::join!(manager.ping(&mut client), client_ping(&manager, &mut other));
        let errors = [one, two]
            .map(|outcome| outcome.err().map(|error| error.to_string()).unwrap_or_default());
        assert!(errors.iter().any(|errors| errors.contains("out of sync")), "{errors:?}");
    }
}

async fn client_ping(
    manager: &millpond_redis::SharedRedisManager,
    client: &mut std::sync::Arc<millpond_redis::RedisClient>,
) -> Result<(), RedisError> {
    use millpond_core::Manager;
    manager.ping(client).await
}
