//! Through a proxy that chops up, swallows, cuts and resets, while commands are cut off: nobody
//! gets another's answer, and no place is lost.

use crate::support::{by_each_driver, echo, few, get, key, set, single};
use millpond_redis::{Command, RedisPool, Value};
use millpond_testkit::{ChaosProxy, Flow, poll_n, until};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(200);

async fn cut(pool: &RedisPool, seed: u64, rounds: u32) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let key = key("chaos");
    let mut cut = 0;
    for _ in 0..rounds {
        let Ok(mut lease) = pool.acquire().await else { continue };
        let command = match random.u32(0..6) {
            0 => set(&key, random.u64(..)),
            1 => Command::new("WATCH").key(&key),
            2 => Command::new("BLPOP").key(format!("{key}:none")).arg("0.01"),
            3 => Command::new("APPEND").key(format!("{key}:s")).arg("x"),
            _ => get(&key),
        };
        cut += u32::from(poll_n(lease.run::<Value>(command), random.usize(1..4)).await.is_none());
        drop(lease);
        let nonce = format!("{:x}", random.u64(..));
        if let Ok(mut lease) = pool.acquire().await
            && let Ok(echoed) = lease.run::<String>(echo(&nonce)).await
        {
            assert_eq!(echoed, nonce, "seed {seed}");
        }
    }
    cut
}

/// How many commands are cut off in all; the soak of `MILLPOND_REDIS_CUTS=100000` takes some
/// minutes.
fn cuts() -> u32 {
    std::env::var("MILLPOND_REDIS_CUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn through_a_bad_network_every_answer_is_to_its_own_question_and_no_place_is_lost() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        soak(&url).await;
    }
}

async fn soak(url: &str) {
    let place = url.split_once("://").unwrap().1.split('/').next().unwrap().to_owned();
    let proxy = ChaosProxy::start(&place).await.unwrap();
    proxy.plan(|number, direction| Flow::drawn(number * 2 + direction as u64));
    let options = few(4).command_timeout(TIMEOUT).pool_timeout(Duration::from_secs(5));
    let pool = options.connect_lazy(&proxy.reroute(url)).unwrap();
    let (mut made, mut seed) = (0, 0);
    while made < cuts() {
        let tasks = (0..8).map(|_| {
            seed += 1;
            let (pool, seed) = (pool.clone(), seed);
            tokio::spawn(async move { cut(&pool, seed, 50).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            made += task.await.unwrap();
        }
    }
    proxy.heal();
    // Those that were swallowed are found out one by one.
    until("four connections that answer", async || {
        let mut leases = futures_util::future::join_all((0..4).map(|_| pool.acquire())).await;
        let mut all = true;
        for lease in &mut leases {
            all &= match lease {
                Ok(lease) => lease.run::<String>(echo("x")).await.is_ok(),
                Err(_) => false,
            };
        }
        all
    })
    .await;
    assert_eq!(pool.status().in_use, 0);
    assert!(pool.close().await.is_clean());
    println!("{made} commands were cut off");
}
