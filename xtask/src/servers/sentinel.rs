//! Redis Sentinel: a master, a replica, and three sentinels that agree on both.

use super::children::START_MAX;
use super::kind::Kind;
use super::process::Process;
use super::variables::Variables;
use super::workdir::{Server, Workdir};
use super::{packages, redis};

/// What the sentinels call the master.
const SERVICE: &str = "millpond";

/// Sentinels, and how many of them must agree that the master is down.
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// Starts all five.
pub fn start(dir: &Workdir) -> Result<Variables, String> {
    let (master, replica, sentinels) = dir.on_free_ports(2 + SENTINELS, |ports| {
        let [master_port, replica_port, sentinel_ports @ ..] = ports else {
            return Err("too few ports".to_owned());
        };
        let master = redis::member(dir, "master", *master_port, "")?;
        let of = format!("--replicaof 127.0.0.1 {master_port}");
        let replica = redis::member(dir, "replica", *replica_port, &of)?;
        let linked = || {
            redis::says(dir, *replica_port, &["INFO", "replication"], &["master_link_status:up"])
        };
        dir.children.await_ready(replica.pid, &replica.launch, START_MAX, linked)?;
        let numbered = sentinel_ports.iter().enumerate();
        let sentinels = numbered.map(|(at, port)| sentinel(dir, at + 1, *port, *master_port));
        Ok((master, replica, sentinels.collect::<Result<Vec<_>, _>>()?))
    })?;
    for sentinel in &sentinels {
        let agrees = || agrees(dir, sentinel.port);
        dir.children.await_ready(sentinel.pid, &sentinel.launch, START_MAX, agrees)?;
        // Back to the usual pace of asking.
        publish_every(dir, sentinel.port, "2000")?;
    }
    let path = format!("/0?sentinelServiceName={SERVICE}&");
    let mut variables =
        redis::variables_of_group(Kind::Sentinel, &sentinels, "redis-sentinel", &path)?;
    variables.add("SENTINEL_SERVICE", SERVICE);
    master.add(&mut variables, "SENTINEL_MASTER");
    replica.add(&mut variables, "SENTINEL_REPLICA");
    Ok(variables)
}

fn sentinel(dir: &Workdir, number: usize, port: u16, master_port: u16) -> Result<Server, String> {
    let account = redis::account()?;
    let name = format!("sentinel-{number}");
    let home = dir.directory(&name, &account)?;
    let settings = home.join("sentinel.conf");
    // It writes what it learns into this file. Down after 1 s: a test of a failover must not wait
    // for the usual 30 s.
    account.write(
        &settings,
        format!(
            "port {port}\nbind 127.0.0.1\nprotected-mode no\ndir {}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {master_port} {QUORUM}\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n",
            home.display()
        ),
    )?;
    let launch = Process::server(&name, &account, &packages::find("redis-server")?, &home);
    let launch = launch.args([settings.display().to_string(), "--sentinel".to_owned()]);
    let server = dir.serve(launch, port, |pid| {
        redis::says(dir, port, &["INFO", "server"], &[&format!("process_id:{pid}\r\n")])
    })?;
    // They find one another by what they publish, usually every other second.
    publish_every(dir, port, "100")?;
    Ok(server)
}

fn publish_every(dir: &Workdir, port: u16, ms: &str) -> Result<(), String> {
    let words = ["SENTINEL", "DEBUG", "publish-period", ms];
    redis::ask(dir, Kind::Sentinel, port, &words).map(drop)
}

/// Whether a sentinel knows the replica and the other sentinels.
fn agrees(dir: &Workdir, port: u16) -> Result<(), String> {
    let master = master_of(dir, port)?;
    let known = format!("status=ok,address=127.0.0.1:{master},slaves=1,sentinels={SENTINELS}");
    redis::says(dir, port, &["INFO", "sentinel"], &[&known])?;
    let usable = format!("OK {SENTINELS} usable");
    redis::says(dir, port, &["SENTINEL", "CKQUORUM", SERVICE], &[&usable])
}

/// The port of the master that a sentinel names.
fn master_of(dir: &Workdir, port: u16) -> Result<u16, String> {
    let said =
        redis::ask(dir, Kind::Sentinel, port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE])?;
    let number = said.lines().nth(1).and_then(|line| line.trim().parse().ok());
    number
        .ok_or_else(|| format!("the sentinel at port {port} names no master but: {}", said.trim()))
}
