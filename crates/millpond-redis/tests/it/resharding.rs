//! A slot moves from one node of a cluster to another while its keys are in use.

use crate::support::{by_each_driver, few, get, set};
use millpond_redis::{Command, RedisError, RedisPool, SharedRedisPool, slot_of};
use millpond_testkit::OwnServer;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TAG: &str = "{moves}";

/// The nodes that begin as masters, each by itself.
struct Masters(Vec<(RedisPool, String)>);

impl Masters {
    async fn of(cluster: &OwnServer) -> Self {
        let mut masters = Vec::new();
        for n in 1..=3 {
            let address = cluster.variable(&format!("CLUSTER_{n}_ADDRESS")).to_owned();
            masters.push((few(1).connect(&format!("redis://{address}")).await.unwrap(), address));
        }
        Self(masters)
    }

    async fn id(&self, n: usize) -> String {
        self.0[n].0.run(Command::new("CLUSTER").arg("MYID")).await.unwrap()
    }

    /// Which of them has a slot.
    async fn owner_of(&self, slot: u16) -> usize {
        for n in 0..self.0.len() {
            let keys = Command::new("CLUSTER").arg("NODES");
            let nodes: String = self.0[n].0.run(keys).await.unwrap();
            let own = nodes.lines().find(|line| line.contains("myself")).unwrap();
            let ranges = own.split(' ').skip(8).filter(|range| !range.starts_with('['));
            let bounds = ranges.map(|range| range.split_once('-').unwrap_or((range, range)));
            if bounds
                .into_iter()
                .any(|(a, b)| (a.parse().unwrap()..=b.parse().unwrap()).contains(&slot))
            {
                return n;
            }
        }
        panic!("nobody has slot {slot}")
    }

    async fn set_slot(&self, n: usize, slot: u16, how: &str, id: &str) {
        let command = Command::new("CLUSTER").arg("SETSLOT").arg(slot).arg(how).arg(id);
        self.0[n].0.run::<()>(command).await.unwrap();
    }

    /// Moves a slot, a few keys at a time.
    async fn move_slot(&self, slot: u16) {
        let from = self.owner_of(slot).await;
        let to = (from + 1) % 3;
        let (from_id, to_id) = (self.id(from).await, self.id(to).await);
        self.set_slot(to, slot, "IMPORTING", &from_id).await;
        self.set_slot(from, slot, "MIGRATING", &to_id).await;
        let (host, port) = self.0[to].1.rsplit_once(':').unwrap();
        loop {
            let keys = Command::new("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(3);
            let keys: Vec<String> = self.0[from].0.run(keys).await.unwrap();
            if keys.is_empty() {
                break;
            }
            let migrate =
                Command::new("MIGRATE").args([host, port, "", "0", "1000", "KEYS"]).args(keys);
            self.0[from].0.run::<()>(migrate).await.unwrap();
        }
        for n in [to, from, 3 - to - from] {
            self.set_slot(n, slot, "NODE", &to_id).await;
        }
    }
}

/// Writes and reads keys of the slot and of others until it is stopped. Every value carries
/// its key.
async fn use_keys<F>(task: usize, stop: Arc<AtomicBool>, run: impl Fn(Command) -> F)
where
    F: Future<Output = Result<Option<String>, RedisError>>,
{
    let mut n = 0;
    while !stop.load(Ordering::SeqCst) {
        n += 1;
        let tag = if n % 3 == 0 { format!("{{{n}}}") } else { TAG.to_owned() };
        let key = format!("{tag}:{task}:{}", n % 10);
        run(set(&key, format!("{key}={n}"))).await.unwrap();
        assert_eq!(run(get(&key)).await.unwrap(), Some(format!("{key}={n}")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_under_load_causes_no_error_and_no_answer_goes_astray() {
    let Some(cluster) = OwnServer::or_skip("cluster") else { return };
    for url in by_each_driver(cluster.url()) {
        moves_under_load(&cluster, &url).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_moves_between_nodes_that_announce_themselves_by_name() {
    let Some(cluster) = OwnServer::or_skip("cluster") else { return };
    for n in 1..=6 {
        let address = cluster.variable(&format!("CLUSTER_{n}_ADDRESS")).to_owned();
        let node = few(1).connect(&format!("redis://{address}")).await.unwrap();
        for (name, value) in [
            ("cluster-announce-hostname", "localhost"),
            ("cluster-preferred-endpoint-type", "hostname"),
        ] {
            node.run::<()>(Command::new("CONFIG").args(["SET", name, value])).await.unwrap();
        }
    }
    for url in by_each_driver(cluster.url()) {
        moves_under_load(&cluster, &url).await;
    }
}

async fn moves_under_load(cluster: &OwnServer, url: &str) {
    let masters = Masters::of(cluster).await;
    let shared: SharedRedisPool =
        crate::support::shared().max_connections(2).connect(url).await.unwrap();
    let own = few(4).connect(url).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16 {
        let (shared, own, stop) = (shared.clone(), own.clone(), stop.clone());
        if task % 4 == 1 {
            tasks.spawn(use_keys(task, stop, move |command| {
                let own = own.clone();
                async move {
                    let mut lease = own.acquire().await?;
                    let answers: Option<Vec<Option<String>>> = lease.transaction([command]).await?;
                    Ok(answers.unwrap().remove(0))
                }
            }));
        } else if task % 2 == 0 {
            tasks.spawn(use_keys(task, stop, move |command| {
                let shared = shared.clone();
                async move { shared.run(command).await }
            }));
        } else {
            tasks.spawn(use_keys(task, stop, move |command| {
                let own = own.clone();
                async move { own.run(command).await }
            }));
        }
    }
    for _ in 0..100 {
        shared.run::<()>(set(&format!("{TAG}:warm"), 1)).await.unwrap();
    }
    masters.move_slot(slot_of(TAG.as_bytes())).await;
    for _ in 0..100 {
        shared.run::<()>(set(&format!("{TAG}:warm"), 2)).await.unwrap();
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}
