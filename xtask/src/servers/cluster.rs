//! Redis Cluster: three masters, each with a replica.

use super::children::START_MAX;
use super::kind::Kind;
use super::redis;
use super::variables::Variables;
use super::workdir::{Server, Workdir};

const NODES: usize = 6;

/// The settings of a node. A node counts as failed after 1.5 s.
const SETTINGS: &str =
    "--cluster-enabled yes --cluster-config-file nodes.conf --cluster-node-timeout 1500";

/// Starts all nodes and returns their variables.
pub fn start(dir: &Workdir) -> Result<Variables, String> {
    let nodes: Vec<Server> = dir.on_free_ports(NODES, |ports| {
        let numbered = ports.iter().enumerate();
        numbered
            .map(|(at, port)| redis::member(dir, &format!("node-{}", at + 1), *port, SETTINGS))
            .collect()
    })?;
    join(dir, &nodes)?;
    for node in &nodes {
        dir.children
            .await_ready(node.pid, &node.process, START_MAX, || is_complete(dir, node.port))?;
    }
    redis::variables_of_group(Kind::Cluster, &nodes, "redis-cluster", "?")
}

/// Joins the nodes into a cluster; the first half are masters.
fn join(dir: &Workdir, nodes: &[Server]) -> Result<(), String> {
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let mut words = vec!["--cluster", "create"];
    words.extend(addresses.iter().map(String::as_str));
    words.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    dir.ask("redis-cli", &words).map(drop)
}

/// Returns an error unless a node sees the whole cluster and replication works for it.
fn is_complete(dir: &Workdir, port: u16) -> Result<(), String> {
    let known = format!("cluster_known_nodes:{NODES}");
    let words = ["cluster_state:ok", "cluster_slots_ok:16384", &known];
    redis::expect(dir, port, &["CLUSTER", "INFO"], &words)?;
    let role = redis::ask(dir, Kind::Redis, port, &["INFO", "replication"])?;
    let is_linked = role.contains("role:master\r\nconnected_slaves:1")
        || role.contains("master_link_status:up");
    let alone = || format!("the node at port {port} has no partner: {}", role.trim());
    is_linked.then_some(()).ok_or_else(alone)
}
