//! A cluster loses a master: over redis-rs that concerns those who ask for its keys, and nobody
//! else.

use crate::support::{few, get, set};
use millpond_redis::{Command, SharedRedisPool, SharedRedisPoolOptions, slot_of};
use millpond_testkit::{OwnServer, until};
use std::time::{Duration, Instant};

/// Shorter than it takes the cluster to notice that a node is silent.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What the keys of healthy nodes take at most, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(4);

/// A cluster whose healthy nodes answer while some slots have no owner.
async fn cluster() -> Option<OwnServer> {
    let cluster = OwnServer::or_skip("cluster")?;
    for node in cluster.variable("CLUSTER_NODES").split(',') {
        let pool = few(1).connect(&format!("redis://{node}")).await.unwrap();
        let set = Command::new("CONFIG").args(["SET", "cluster-require-full-coverage", "no"]);
        pool.run::<()>(set).await.unwrap();
    }
    Some(cluster)
}

/// A key of the first master, and one of another.
fn keys() -> (String, String) {
    let of = |is_first: bool| {
        let mut keys = (0..).map(|n| format!("millpond:failover:{n}"));
        keys.find(|key| (slot_of(key.as_bytes()) <= 5460) == is_first).unwrap()
    };
    (of(true), of(false))
}

async fn healthy_keys_are_answered_while_a_master_is_lost(signal: &str) {
    let Some(cluster) = cluster().await else { return };
    let url = format!("{}&driver=redis-rs", cluster.url());
    let options = SharedRedisPoolOptions::new().max_connections(2).command_timeout(PATIENCE);
    let pool: SharedRedisPool = options.connect(&url).await.unwrap();
    let (lost, healthy) = keys();
    for key in [&lost, &healthy] {
        pool.run::<()>(set(key, key)).await.unwrap();
    }
    cluster.signal("CLUSTER_1", signal).unwrap();
    let struck = Instant::now();
    let others = tokio::spawn(until_back(pool.clone(), lost.clone()));
    let mut longest = Duration::ZERO;
    while !others.is_finished() {
        let began = Instant::now();
        assert_eq!(
            pool.run::<Option<String>>(get(&healthy)).await.unwrap().as_deref(),
            Some(&*healthy)
        );
        longest = longest.max(began.elapsed());
    }
    assert!(longest < PATIENCE, "{longest:?}");
    println!(
        "{signal}: lost keys were back after {:?}, healthy ones took {longest:?} at most",
        struck.elapsed()
    );
    assert!(others.await.unwrap() > 0, "no caller got an error at once");
    // Redis may have lost what its replica had not heard of; another key's value it is not.
    let stored = pool.run::<Option<String>>(get(&lost)).await.unwrap();
    assert!(stored.as_ref().is_none_or(|stored| *stored == lost), "{stored:?}");
}

/// Asks for a lost key until it is answered; how often the answer was at once that nobody answers.
async fn until_back(pool: SharedRedisPool, lost: String) -> u32 {
    let (since, mut refused) = (Instant::now(), 0);
    while since.elapsed() < Duration::from_secs(60) {
        let began = Instant::now();
        if pool.run::<Option<String>>(get(&lost)).await.is_ok() {
            return refused;
        }
        refused += u32::from(began.elapsed() < PATIENCE / 2);
    }
    panic!("the lost keys are not back in 60 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_killed_master_is_missed_the_keys_of_the_others_are_answered() {
    healthy_keys_are_answered_while_a_master_is_lost("KILL").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_master_is_silent_the_keys_of_the_others_are_answered() {
    healthy_keys_are_answered_while_a_master_is_lost("STOP").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_answers_again_is_used_again() {
    let Some(cluster) = cluster().await else { return };
    let url = format!("{}&driver=redis-rs", cluster.url());
    let options = SharedRedisPoolOptions::new().max_connections(1).command_timeout(TIMEOUT);
    let pool = options.connect(&url).await.unwrap();
    let (lost, _) = keys();
    until("it is used", async || pool.run::<()>(set(&lost, 1)).await.is_ok()).await;
    cluster.signal("CLUSTER_1", "STOP").unwrap();
    assert!(pool.run::<()>(set(&lost, 2)).await.unwrap_err().is_ambiguous());
    cluster.signal("CLUSTER_1", "CONT").unwrap();
    until("it is used again", async || pool.run::<()>(set(&lost, 3)).await.is_ok()).await;
    assert_eq!(pool.run::<i64>(get(&lost)).await.unwrap(), 3);
}

/// Nothing goes on looking after a cluster whose pool is gone.
#[tokio::test]
async fn a_pool_that_is_closed_in_the_middle_of_it_leaves_no_task() {
    let Some(cluster) = cluster().await else { return };
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let url = format!("{}&driver=redis-rs", cluster.url());
    let pool = SharedRedisPoolOptions::new()
        .max_connections(1)
        .command_timeout(TIMEOUT)
        .connect(&url)
        .await
        .unwrap();
    cluster.signal("CLUSTER_1", "STOP").unwrap();
    assert!(pool.run::<()>(set(&keys().0, 2)).await.is_err());
    let _ = pool.close().await;
    drop(pool);
    until("no task is left", async || tasks() <= before).await;
}
