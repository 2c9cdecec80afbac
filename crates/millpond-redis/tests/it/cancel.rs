//! Commands that are cut off anywhere: nobody gets another's answer, and no place is lost.

use crate::support::{by_each_driver, cluster, echo, few, get, key, set, shared, single};
use millpond_redis::{Command, RedisPool, Value};
use millpond_testkit::poll_n;

/// Cuts commands of every sort off after a few polls, and asks for a nonce in between.
async fn cut(pool: &RedisPool, seed: u64, rounds: u32) -> u32 {
    let mut random = fastrand::Rng::with_seed(seed);
    let key = key("cut");
    let mut cut = 0;
    for _ in 0..rounds {
        let mut lease = pool.acquire().await.unwrap();
        let polls = random.usize(1..4);
        let command = match random.u32(0..8) {
            0 => set(&key, random.u64(..)),
            1 => Command::new("WATCH").key(&key),
            2 => Command::new("BLPOP").key(format!("{key}:none")).arg("0.01"),
            3 => Command::new("LRANGE").key(format!("{key}:list")).arg(0).arg(-1),
            4 => Command::new("INCR").key(format!("{key}:n")),
            _ => get(&key),
        };
        let outcome = if random.u32(0..6) == 0 {
            let transaction = lease.transaction::<Value>([set(&key, 1), get(&key)]);
            poll_n(transaction, polls).await.map(drop)
        } else {
            poll_n(lease.run::<Value>(command), polls).await.map(drop)
        };
        cut += u32::from(outcome.is_none());
        drop(lease);
        let nonce = format!("{:x}", random.u64(..));
        let mut lease = pool.acquire().await.unwrap();
        assert_eq!(lease.run::<String>(echo(&nonce)).await.unwrap(), nonce, "seed {seed}");
    }
    cut
}

async fn every_nonce_comes_back(url: &str, rounds: u32) {
    let pool = few(3).connect(url).await.unwrap();
    let tasks = (0..6).map(|seed| {
        let pool = pool.clone();
        tokio::spawn(async move { cut(&pool, seed, rounds).await })
    });
    let mut cut = 0;
    for task in tasks.collect::<Vec<_>>() {
        cut += task.await.unwrap();
    }
    assert!(cut > rounds, "only {cut} were cut off");
    assert_eq!(pool.status().in_use, 0);
    let leases = futures_util::future::join_all((0..3).map(|_| pool.acquire())).await;
    assert!(leases.iter().all(Result::is_ok), "a place was lost");
    drop(leases);
    assert!(pool.close().await.is_clean());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_question_gets_its_own_answer_however_many_were_cut_off() {
    let Some(url) = single() else { return };
    for url in by_each_driver(&url) {
        every_nonce_comes_back(&url, 500).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_every_question_gets_its_own_answer_as_well() {
    let Some(url) = cluster() else { return };
    for url in by_each_driver(&url) {
        every_nonce_comes_back(&url, 100).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_shared_connection_the_cut_commands_of_some_disturb_nobody_else() {
    for url in [single(), cluster()].into_iter().flatten().flat_map(|url| by_each_driver(&url)) {
        let pool = shared().max_connections(2).connect(&url).await.unwrap();
        let tasks = (0..6).map(|seed| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..300 {
                    let key = format!("millpond:shared:{:x}", random.u64(..));
                    let lease = pool.acquire().await.unwrap();
                    drop(poll_n(lease.run::<Value>(set(&key, "other")), random.usize(1..4)).await);
                    let nonce = format!("{:x}", random.u64(..));
                    lease.run::<()>(set(&key, &nonce).arg("EX").arg(60)).await.unwrap();
                    assert_eq!(lease.run::<String>(get(&key)).await.unwrap(), nonce);
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }
}
