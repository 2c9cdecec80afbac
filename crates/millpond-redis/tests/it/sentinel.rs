//! Sentinels name another master: the pools find it, within their limits, and nobody gets another's
//! answer.

use crate::support::{by_each_driver, few, get, set};
use millpond_redis::{Command, RedisError, RedisPool, SharedRedisPool, SharedRedisPoolOptions};
use millpond_testkit::{OwnServer, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const COMMAND: Duration = Duration::from_secs(3);
const ACQUIRE: Duration = Duration::from_secs(5);

#[derive(Clone)]
enum Pool {
    Own(RedisPool),
    Shared(SharedRedisPool),
}

impl Pool {
    async fn run(&self, command: Command) -> Result<Option<String>, RedisError> {
        match self {
            Self::Own(pool) => pool.run(command).await,
            Self::Shared(pool) => pool.run(command).await,
        }
    }
}

/// What the users of a pool have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answers: AtomicU64,
}

/// Writes and reads a key of one's own; every value carries its key. Whatever fails, fails in time.
async fn use_key(pool: Pool, user: u64, seen: Arc<Seen>) {
    let key = format!("millpond:sentinel:{user}");
    let mut n = 0;
    while !seen.stop.load(Ordering::SeqCst) {
        n += 1;
        let began = Instant::now();
        let outcome = match pool.run(set(&key, format!("{key}={n}"))).await {
            // It may be sent again, three times in all.
            Ok(_) => pool.run(get(&key)).await,
            Err(error) => Err(error),
        };
        assert!(began.elapsed() < (COMMAND + ACQUIRE) * 5, "{:?}", began.elapsed());
        match outcome {
            Ok(Some(value)) => {
                assert!(value.starts_with(&format!("{key}=")), "{key} has {value}");
                seen.answers.fetch_add(1, Ordering::SeqCst);
            }
            // A replica that was promoted may not have heard of it.
            Ok(None) | Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// Uses both pools while something happens to the master; how long after another one was ready they
/// were back.
async fn through(servers: &OwnServer, url: &str, strike: impl AsyncFn(&OwnServer)) -> Duration {
    let own = few(4).command_timeout(COMMAND).pool_timeout(ACQUIRE).connect(url).await.unwrap();
    let shared = SharedRedisPoolOptions::new()
        .max_connections(2)
        .command_timeout(COMMAND)
        .pool_timeout(ACQUIRE);
    let shared = shared.connect(url).await.unwrap();
    let pools = [Pool::Own(own), Pool::Shared(shared)];
    let before = port_of(&pools[0]).await;
    let mut tasks = JoinSet::new();
    let seen: Vec<Arc<Seen>> = pools.iter().map(|_| Arc::default()).collect();
    for user in 0..16 {
        let at = usize::try_from(user % 2).unwrap();
        tasks.spawn(use_key(pools[at].clone(), user, Arc::clone(&seen[at])));
    }
    let each_answers = async |more: u64| {
        for seen in &seen {
            let before = seen.answers.load(Ordering::SeqCst);
            until("there are answers", async || {
                seen.answers.load(Ordering::SeqCst) >= before + more
            })
            .await;
        }
    };
    each_answers(50).await;
    strike(servers).await;
    // Ready is when somebody without a pool can write to another master.
    until("there is another master", async || {
        let Ok(fresh) = few(1).command_timeout(COMMAND).connect(url).await else { return false };
        fresh.run::<()>(set("millpond:sentinel:ready", 1)).await.is_ok()
            && port_of(&Pool::Own(fresh)).await.is_some_and(|port| Some(port) != before)
    })
    .await;
    let ready = Instant::now();
    each_answers(50).await;
    let back = ready.elapsed();
    for pool in &pools {
        // A master that is only replaced takes writes until it hears of it.
        until("the pool is at the other master", async || {
            port_of(pool).await.is_some_and(|port| Some(port) != before)
        })
        .await;
        for n in 0..20 {
            pool.run(set("millpond:sentinel:after", n)).await.unwrap();
        }
    }
    for seen in &seen {
        seen.stop.store(true, Ordering::SeqCst);
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    back
}

/// The port of the server that answers.
async fn port_of(pool: &Pool) -> Option<u16> {
    let info = pool.run(Command::new("INFO").arg("server").idempotent()).await.ok()??;
    info.lines().find_map(|line| line.strip_prefix("tcp_port:")?.trim().parse().ok())
}

/// Longer than it takes to give up a connection and an attempt to open one, on a machine that does
/// much else.
const BACK_MAX: Duration = Duration::from_secs(15);

async fn is_back_soon(strike: impl AsyncFn(&OwnServer)) {
    let Some(servers) = OwnServer::or_skip("sentinel") else { return };
    let mut servers = Some(servers);
    for driver in by_each_driver("") {
        let Some(servers) = servers.take().or_else(|| OwnServer::or_skip("sentinel")) else {
            return;
        };
        let url = format!("{}{}", servers.url(), driver.replace('?', "&"));
        let back = through(&servers, &url, &strike).await;
        println!("answered {back:?} after another master was ready, {url}");
        assert!(back < BACK_MAX, "{back:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_master_is_killed_the_pools_find_the_one_that_the_sentinels_name() {
    is_back_soon(async |servers| servers.signal("SENTINEL_MASTER", "KILL").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_master_falls_silent_the_pools_find_the_one_that_the_sentinels_name() {
    is_back_soon(async |servers| servers.signal("SENTINEL_MASTER", "STOP").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_sentinels_swap_master_and_replica_nobody_keeps_writing_to_the_replica() {
    is_back_soon(async |servers| {
        let at = async |stem: &str| {
            few(1)
                .connect(&format!("redis://{}", servers.variable(&format!("{stem}_ADDRESS"))))
                .await
                .unwrap()
        };
        let (sentinel, former) = (at("SENTINEL_1").await, at("SENTINEL_MASTER").await);
        let service = servers.variable("SENTINEL_SERVICE");
        sentinel.run::<()>(Command::new("SENTINEL").arg("FAILOVER").arg(service)).await.unwrap();
        let mut named = Vec::new();
        until("another master is named", async || {
            named = sentinel
                .run(Command::new("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service))
                .await
                .unwrap();
            named.join(":") != servers.variable("SENTINEL_MASTER_ADDRESS")
        })
        .await;
        // The sentinels notify the former master some 10 s later; until then both take writes.
        former.run::<()>(Command::new("REPLICAOF").args::<String>(named)).await.unwrap();
    })
    .await;
}
