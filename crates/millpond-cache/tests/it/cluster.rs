//! A cluster that loses a node: only callers that need its keys are affected.

use millpond_cache::{CacheBuilder, RedisCache};
use millpond_redis::{Command, RedisPool, RedisPoolOptions, slot_of};
use millpond_testkit::{OwnServer, until};
use std::time::Duration;

const NAMESPACE: &str = "nodes";

/// A cluster whose healthy nodes answer while some slots have no owner.
async fn cluster() -> Option<OwnServer> {
    let cluster = OwnServer::or_skip("cluster")?;
    for node in cluster.variable("CLUSTER_NODES").split(',') {
        let pool = RedisPoolOptions::new().connect(&format!("redis://{node}")).await.unwrap();
        let set = Command::new("CONFIG").args(["SET", "cluster-require-full-coverage", "no"]);
        pool.run::<()>(set).await.unwrap();
    }
    Some(cluster)
}

/// Only a stopped node counts as down, not one on a busy machine.
fn builder(cluster: &OwnServer) -> CacheBuilder {
    RedisCache::builder().url(cluster.url()).namespace(NAMESPACE).timeout(Duration::from_secs(3))
}

/// Returns a key of the first master, and one of another.
fn keys() -> (String, String) {
    let of = |is_first: bool| {
        (0..)
            .map(|n| format!("k{n}"))
            .find(|key| {
                let slot = slot_of(format!("cache:{NAMESPACE}:v1:{key}").as_bytes());
                (slot <= 5460) == is_first
            })
            .unwrap()
    };
    (of(true), of(false))
}

async fn only_callers_of_a_lost_node_do_without_redis(signal: &str) {
    let Some(cluster) = cluster().await else { return };
    let cache = builder(&cluster).connect().await.unwrap();
    let (lost, healthy) = keys();
    for key in [&lost, &healthy] {
        cache.set(key, key).await.unwrap();
    }
    cluster.signal("CLUSTER_1", signal).unwrap();
    // Until its replica has been promoted.
    until("the lost key is served again", async || {
        cache.get::<String>(&lost).await.unwrap();
        let found = cache.get::<String>(&healthy).await.unwrap();
        assert_eq!(found.as_ref(), Some(&healthy), "{signal}");
        let found = cache.mget::<String>(&[&lost, &healthy]).await.unwrap();
        assert_eq!(found[1].as_ref(), Some(&healthy), "{signal}");
        // An error during an outage.
        cache.delete(&[&lost]).await.is_ok()
    })
    .await;
    assert!(cache.totals().bypassed > 0, "{signal}: no node was lost");
}

#[tokio::test]
async fn keys_of_other_masters_are_found_while_one_is_killed() {
    only_callers_of_a_lost_node_do_without_redis("KILL").await;
}

#[tokio::test]
async fn keys_of_other_masters_are_found_while_one_is_silent() {
    only_callers_of_a_lost_node_do_without_redis("STOP").await;
}

/// The node `CLUSTER_n` alone.
async fn node(cluster: &OwnServer, n: usize) -> RedisPool {
    let address = cluster.variable(&format!("CLUSTER_{n}_ADDRESS"));
    RedisPoolOptions::new().connect(&format!("redis://{address}")).await.unwrap()
}

/// Turns the fourth node, a replica, into another master, and assigns it an empty slot.
async fn join_as_master(cluster: &OwnServer, slot: u16) {
    let command = |words: &[&str]| Command::new("CLUSTER").args(words.iter().copied());
    let new = node(cluster, 4).await;
    new.run::<()>(command(&["RESET"])).await.unwrap();
    let id: String = new.run(command(&["MYID"])).await.unwrap();
    let (host, port) = cluster.variable("CLUSTER_1_ADDRESS").rsplit_once(':').unwrap();
    new.run::<()>(command(&["MEET", host, port])).await.unwrap();
    let slot = slot.to_string();
    for n in [4, 1, 2, 3] {
        let one = node(cluster, n).await;
        until("the new master is known", async || {
            let nodes: String = one.run(command(&["NODES"])).await.unwrap();
            nodes.lines().filter(|line| line.contains("master")).count() == 4
                && nodes.lines().any(|line| line.contains(&id) && line.contains("master"))
        })
        .await;
        one.run::<()>(command(&["SETSLOT", &slot, "NODE", &id])).await.unwrap();
    }
}

#[tokio::test]
async fn a_clear_reaches_a_master_that_joined_after_the_cache_had_connected() {
    let Some(cluster) = cluster().await else { return };
    let (cache, key) = (builder(&cluster).connect().await.unwrap(), "k");
    assert_eq!(cache.clear().await.unwrap(), 0);
    join_as_master(&cluster, slot_of(format!("cache:{NAMESPACE}:v1:{key}").as_bytes())).await;
    let of_another_process = builder(&cluster).connect().await.unwrap();
    until("the value is stored", async || {
        of_another_process.set(key, &1).await.unwrap();
        of_another_process.get::<i32>(key).await.unwrap() == Some(1)
    })
    .await;
    assert_eq!(cache.clear().await.unwrap(), 1);
    assert_eq!(of_another_process.get::<i32>(key).await.unwrap(), None);
}
