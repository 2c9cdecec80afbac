//! Masters of a cluster that come back at their own address without their slots, or whose address
//! another server has got: their keys are answered by the replicas that took over.

use crate::support::{by_each_driver, few, get, set, shared};
use millpond_redis::{Command, RedisError, RedisPool, SharedRedisPool, slot_of};
use millpond_testkit::{OwnServer, until};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;
use tokio::net::TcpStream;

/// How many keys the first master has.
const KEYS: usize = 100;

/// The first master of a cluster, which is killed and replaced.
struct First {
    cluster: OwnServer,
    replacement: Option<Child>,
}

impl First {
    async fn or_skip() -> Option<Self> {
        let cluster = OwnServer::or_skip("cluster")?;
        Some(Self { cluster, replacement: None })
    }

    /// Writes its keys, and waits until its replica has them.
    async fn fill(&self) {
        let direct = self.direct().await;
        let mut lease = direct.acquire().await.unwrap();
        for key in keys() {
            lease.run::<()>(set(&key, &key)).await.unwrap();
        }
        let wait = Command::new("WAIT").arg(1).arg(30_000);
        assert_eq!(lease.run::<i64>(wait).await.unwrap(), 1);
    }

    /// A pool that leads to its address, past the cluster.
    async fn direct(&self) -> RedisPool {
        few(1).connect(&format!("redis://{}", self.address())).await.unwrap()
    }

    fn address(&self) -> &str {
        self.cluster.variable("CLUSTER_1_ADDRESS")
    }

    fn directory(&self) -> &Path {
        let (_, rest) = self.cluster.variable("CLUSTER_1_COMMAND").split_once(" --dir ").unwrap();
        Path::new(rest.split(' ').next().unwrap().trim_matches('\''))
    }

    /// Kills it, waits until its replica has taken over, and starts another server at its address.
    /// Nobody has asked for anything meanwhile.
    async fn replace(&mut self, prepare: impl FnOnce(&Path), command: impl Fn(&str) -> String) {
        self.cluster.signal("CLUSTER_1", "KILL").unwrap();
        let second = self.cluster.variable("CLUSTER_2_ADDRESS");
        let second = few(1).connect(&format!("redis://{second}")).await.unwrap();
        let has_taken_over = |line: &str| line.contains("0-5460") && !line.contains(self.address());
        until("the replica has taken over", async || {
            let nodes: String = second.run(Command::new("CLUSTER").arg("NODES")).await.unwrap();
            nodes.lines().any(has_taken_over)
        })
        .await;
        prepare(self.directory());
        let line = command(self.cluster.variable("CLUSTER_1_COMMAND"));
        let log = self.cluster.variable("CLUSTER_1_LOG");
        let mut shell = std::process::Command::new("sh");
        let shell = shell.args(["-c", &format!("exec {line} >>{log} 2>&1")]).stdin(Stdio::null());
        self.replacement = Some(shell.spawn().unwrap());
        let address = self.address();
        until("it listens", async || TcpStream::connect(address).await.is_ok()).await;
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if let Some(mut server) = self.replacement.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Keys of the first master.
fn keys() -> impl Iterator<Item = String> {
    let all = (0..).map(|n| format!("millpond:replaced:{n}"));
    all.filter(|key| slot_of(key.as_bytes()) <= 5460).take(KEYS)
}

/// Both pools over each driver.
async fn pools(url: &str) -> Vec<(RedisPool, SharedRedisPool)> {
    let mut pools = Vec::new();
    for url in by_each_driver(url) {
        let many = shared().max_connections(1).connect(&url).await.unwrap();
        pools.push((few(1).connect(&url).await.unwrap(), many));
    }
    pools
}

/// Every key is answered with its value; until then errors are all that there is.
async fn all_are_answered(pools: &[(RedisPool, SharedRedisPool)]) {
    let is_right = |key: &str, answer: Result<Option<String>, RedisError>| match answer {
        Ok(value) => {
            assert_eq!(value.as_deref(), Some(key), "another server has answered");
            true
        }
        Err(error) => {
            let is_expected = matches!(error.code(), Some("MOVED" | "NOAUTH"));
            assert!(error.is_outage() || is_expected, "{error}");
            false
        }
    };
    let key = keys().next().unwrap();
    until("the replica answers", async || {
        let mut all = true;
        for (own, shared) in pools {
            all &= is_right(&key, own.run(get(&key)).await);
            all &= is_right(&key, shared.run(get(&key)).await);
        }
        all
    })
    .await;
    for key in keys() {
        for (own, shared) in pools {
            assert!(is_right(&key, own.run(get(&key)).await));
            assert!(is_right(&key, shared.run(get(&key)).await));
        }
    }
}

#[tokio::test]
async fn the_keys_of_a_master_that_came_back_empty_are_answered_by_its_replica() {
    let Some(mut first) = First::or_skip().await else { return };
    first.fill().await;
    let pools = pools(first.cluster.url()).await;
    all_are_answered(&pools).await;
    let forget = |directory: &Path| std::fs::remove_file(directory.join("nodes.conf")).unwrap();
    first.replace(forget, str::to_owned).await;
    all_are_answered(&pools).await;
}

#[tokio::test]
async fn a_server_without_a_cluster_at_the_address_of_a_master_answers_nobody() {
    let Some(mut first) = First::or_skip().await else { return };
    first.fill().await;
    let pools = pools(first.cluster.url()).await;
    all_are_answered(&pools).await;
    let alone = |line: &str| line.replace("--cluster-enabled yes", "--cluster-enabled no");
    first.replace(|_| {}, alone).await;
    all_are_answered(&pools).await;
    assert_eq!(first.direct().await.run::<i64>(Command::new("DBSIZE")).await.unwrap(), 0);
}

#[tokio::test]
async fn the_keys_of_a_master_whose_address_refuses_its_password_are_answered_by_its_replica() {
    let Some(mut first) = First::or_skip().await else { return };
    first.fill().await;
    let pools = pools(first.cluster.url()).await;
    all_are_answered(&pools).await;
    let alone = |line: &str| {
        let line = line.replace("--cluster-enabled yes", "--cluster-enabled no");
        format!("{line} --requirepass another")
    };
    first.replace(|_| {}, alone).await;
    all_are_answered(&pools).await;
}

#[tokio::test]
async fn the_keys_of_a_master_that_loads_its_data_for_long_are_answered_by_its_replica() {
    let Some(mut first) = First::or_skip().await else { return };
    first.fill().await;
    let direct = first.direct().await;
    // While it loads it answers after each KiB.
    let plain = Command::new("CONFIG").args(["SET", "rdbcompression", "no"]);
    direct.run::<()>(plain).await.unwrap();
    for key in keys() {
        direct.run::<()>(set(&format!("{{{key}}}:long"), vec![b'x'; 4096])).await.unwrap();
    }
    direct.run::<()>(Command::new("SAVE")).await.unwrap();
    let pools = pools(first.cluster.url()).await;
    all_are_answered(&pools).await;
    // Microseconds for each key.
    let slowly = "--key-load-delay 300000 --loading-process-events-interval-bytes 1024";
    first.replace(|_| {}, |line| format!("{line} {slowly}")).await;
    all_are_answered(&pools).await;
    let limit = Duration::from_secs(2);
    let url = format!("redis://{}", first.address());
    let error = few(1).pool_timeout(limit).connect(&url).await.unwrap_err();
    assert!(error.to_string().contains("LOADING"), "it was not for long: {error}");
}
