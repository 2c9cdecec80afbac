//! Starts Redis Sentinel: a master, a replica, and three sentinels that agree on both.

use super::children::START_MAX;
use super::kind::Kind;
use super::process::Process;
use super::variables::Variables;
use super::workdir::{Server, Workdir};
use super::{packages, redis};

/// The sentinels' name of the master.
const SERVICE: &str = "millpond";

/// The number of sentinels, and how many of them must agree that the master is down.
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// Starts all servers and returns their variables.
pub fn start(dir: &Workdir) -> Result<Variables, String> {
    let (master, replica, sentinels) = dir.on_free_ports(2 + SENTINELS, |ports| {
        let [master_port, replica_port, sentinel_ports @ ..] = ports else {
            return Err("too few ports".to_owned());
        };
        let master = redis::member(dir, "master", *master_port, "")?;
        let of = format!("--replicaof 127.0.0.1 {master_port}");
        let replica = redis::member(dir, "replica", *replica_port, &of)?;
        let linked = || {
            redis::expect(dir, *replica_port, &["INFO", "replication"], &["master_link_status:up"])
        };
        dir.children.await_ready(replica.pid, &replica.process, START_MAX, linked)?;
        let numbered = sentinel_ports.iter().enumerate();
        let sentinels = numbered.map(|(at, port)| sentinel(dir, at + 1, *port, *master_port));
        Ok((master, replica, sentinels.collect::<Result<Vec<_>, _>>()?))
    })?;
    for sentinel in &sentinels {
        let agrees = || agrees(dir, sentinel.port);
        dir.children.await_ready(sentinel.pid, &sentinel.process, START_MAX, agrees)?;
        // The default interval.
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
    let user = redis::user()?;
    let name = format!("sentinel-{number}");
    let home = dir.directory(&name, &user)?;
    let settings = home.join("sentinel.conf");
    // The sentinel writes its state into this file. The master counts as down after 1 s, because a
    // test of a failover must not wait for the default of 30 s.
    user.write(
        &settings,
        format!(
            "port {port}\nbind 127.0.0.1\nprotected-mode no\ndir {}\n\
             sentinel monitor {SERVICE} 127.0.0.1 {master_port} {QUORUM}\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n",
            home.display()
        ),
    )?;
    let process = Process::server(&name, &user, &packages::find("redis-server")?, &home);
    let process = process.args([settings.display().to_string(), "--sentinel".to_owned()]);
    let server = dir.serve(process, port, |pid| {
        redis::expect(dir, port, &["INFO", "server"], &[&format!("process_id:{pid}\r\n")])
    })?;
    // They find each other by messages, which they publish every 2 s by default.
    publish_every(dir, port, "100")?;
    Ok(server)
}

fn publish_every(dir: &Workdir, port: u16, ms: &str) -> Result<(), String> {
    let words = ["SENTINEL", "DEBUG", "publish-period", ms];
    redis::ask(dir, Kind::Sentinel, port, &words).map(drop)
}

/// Returns an error unless a sentinel knows the replica and the other sentinels.
fn agrees(dir: &Workdir, port: u16) -> Result<(), String> {
    let known = format!(",slaves=1,sentinels={SENTINELS}");
    redis::expect(dir, port, &["INFO", "sentinel"], &["status=ok,", &known])?;
    let usable = format!("OK {SENTINELS} usable");
    redis::expect(dir, port, &["SENTINEL", "CKQUORUM", SERVICE], &[&usable])
}
