//! A cluster loses a master under the load of 64 tasks: how long its keys, and those of the others,
//! get no answer.
//!
//! `cargo xtask servers redis -- cargo run --release -p millpond-redis --features redis-rs
//! --example failover -- CLIENT EVENT [ROUNDS]`
//!
//! CLIENT is `shared` or `exclusive` (ours over fred), `shared-rs` or `exclusive-rs` (ours over
//! redis-rs), `fred` (its own pool, with a reconnect policy, since without one it never comes back)
//! or `deadpool` (deadpool-redis' cluster pool). EVENT is `kill` (kill -9), `stop` (SIGSTOP),
//! `planned` (CLUSTER FAILOVER) or `move` (a slot moves between two masters). Each round has a
//! cluster of its own, with a node timeout of 1.5 s, whose healthy nodes go on answering while some
//! slots have no owner (`cluster-require-full-coverage no`); the figures are the medians.

use deadpool_redis::redis::AsyncTypedCommands;
use fred::interfaces::KeysInterface;
use fred::types::Builder;
use fred::types::config::{Config, ReconnectPolicy};
use millpond_redis::{
    Command, Driver, RedisConnectOptions, RedisPool, RedisPoolOptions, SharedRedisPool,
    SharedRedisPoolOptions, slot_of,
};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{self, Child, Stdio};
use std::time::{Duration, Instant};

const TASKS: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(10);
/// No command may take longer, whatever its client says.
const OUTER: Duration = Duration::from_secs(3);
/// The slots of the node that is lost.
const LOST: std::ops::RangeInclusive<u16> = 0..=5460;
/// The slot that moves, and a key in it.
const MOVED_KEY: &str = "{moved}";

type Answer = Result<Option<String>, String>;

#[derive(Clone)]
enum Client {
    Shared(SharedRedisPool),
    Exclusive(RedisPool),
    Fred(fred::clients::Pool),
    Deadpool(deadpool_redis::cluster::Pool),
}

impl Client {
    async fn open(name: &str, url: &str) -> Self {
        match name {
            "shared" | "shared-rs" => {
                let options =
                    url.parse::<RedisConnectOptions>().expect("a URL").driver(driver(name));
                Self::Shared(
                    SharedRedisPoolOptions::new().connect_with(options).await.expect("connects"),
                )
            }
            "exclusive" | "exclusive-rs" => {
                let options =
                    url.parse::<RedisConnectOptions>().expect("a URL").driver(driver(name));
                let pool = RedisPoolOptions::new().max_connections(10);
                Self::Exclusive(pool.connect_with(options).await.expect("connects"))
            }
            "deadpool" => {
                let nodes = url
                    .split(['/', '?', '&'])
                    .filter_map(|part| part.strip_prefix("node=").or(Some(part)));
                let nodes = nodes.filter(|part| part.contains(':') && !part.contains("redis"));
                let nodes: Vec<String> = nodes.map(|node| format!("redis://{node}")).collect();
                let config = deadpool_redis::cluster::Config::from_urls(nodes);
                Self::Deadpool(
                    config.create_pool(Some(deadpool_redis::Runtime::Tokio1)).expect("a pool"),
                )
            }
            "fred" => {
                let mut builder = Builder::from_config(Config::from_url(url).expect("a URL"));
                builder.set_policy(ReconnectPolicy::new_exponential(0, 50, 1000, 2));
                let pool = builder.build_pool(4).expect("a pool");
                drop(fred::interfaces::ClientLike::init(&pool).await.expect("connects"));
                Self::Fred(pool)
            }
            other => panic!(
                "{other} is none of shared, exclusive, shared-rs, exclusive-rs, fred, deadpool"
            ),
        }
    }

    async fn set(&self, key: &str, value: &str) -> Answer {
        let set = || Command::new("SET").key(key).arg(value);
        match self {
            Self::Shared(pool) => pool.run(set()).await.map_err(|error| error.to_string()),
            Self::Exclusive(pool) => pool.run(set()).await.map_err(|error| error.to_string()),
            Self::Fred(pool) => {
                pool.set(key, value, None, None, false).await.map_err(|error| error.to_string())
            }
            Self::Deadpool(pool) => {
                let mut lease = pool.get().await.map_err(|error| error.to_string())?;
                lease.set(key, value).await.map(|()| None).map_err(|error| error.to_string())
            }
        }
    }

    async fn get(&self, key: &str) -> Answer {
        let get = || Command::new("GET").key(key);
        match self {
            Self::Shared(pool) => pool.run(get()).await.map_err(|error| error.to_string()),
            Self::Exclusive(pool) => pool.run(get()).await.map_err(|error| error.to_string()),
            Self::Fred(pool) => pool.get(key).await.map_err(|error| error.to_string()),
            Self::Deadpool(pool) => {
                let mut lease = pool.get().await.map_err(|error| error.to_string())?;
                lease.get(key).await.map_err(|error| error.to_string())
            }
        }
    }
}

fn driver(name: &str) -> Driver {
    if name.ends_with("-rs") { Driver::RedisRs } else { Driver::Fred }
}

/// One command of one task.
struct Sample {
    is_lost: bool,
    ended: Instant,
    failure: Option<String>,
}

/// What a task has done.
struct Report {
    samples: Vec<Sample>,
    /// Answers that belong to another key.
    strangers: u32,
    /// The last value of each key that was acknowledged.
    acked: HashMap<String, u64>,
}

async fn work(client: Client, task: usize, until: Instant, moving: bool) -> Report {
    let mut report = Report { samples: Vec::new(), strangers: 0, acked: HashMap::new() };
    let mut n = 0_u64;
    while Instant::now() < until {
        n += 1;
        let tag = if moving && n.is_multiple_of(2) {
            MOVED_KEY.to_owned()
        } else {
            format!("{{{}}}", n % 97)
        };
        let key = format!("{tag}:{task}");
        // Half of the tasks ask for keys of the lost node, the others for those of healthy ones: as
        // in a service, where who waits for one does not hold up who wants the other.
        if !moving && LOST.contains(&slot_of(key.as_bytes())) != task.is_multiple_of(2) {
            continue;
        }
        let outcome = if n.is_multiple_of(3) {
            let answer = tokio::time::timeout(OUTER, client.get(&key))
                .await
                .unwrap_or_else(|_| Err("outer".into()));
            if let Ok(Some(value)) = &answer {
                report.strangers += u32::from(!value.starts_with(&format!("{key}=")));
            }
            answer
        } else {
            let value = format!("{key}={n}");
            let answer = tokio::time::timeout(OUTER, client.set(&key, &value))
                .await
                .unwrap_or_else(|_| Err("outer".into()));
            if answer.is_ok() {
                report.acked.insert(key.clone(), n);
            }
            answer
        };
        let is_lost = LOST.contains(&slot_of(key.as_bytes()));
        report.samples.push(Sample { is_lost, ended: Instant::now(), failure: outcome.err() });
        tokio::time::sleep(PAUSE).await;
    }
    report
}

/// The servers of one round.
struct Cluster {
    servers: Child,
    variables: HashMap<String, String>,
}

impl Cluster {
    fn start() -> Self {
        let xtask =
            std::env::var("MILLPOND_TEST_XTASK").expect("run it under `cargo xtask servers`");
        let mut command = process::Command::new(xtask);
        command
            .args(["servers", "--private", "cluster"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut servers = command.spawn().expect("xtask starts");
        let lines =
            BufReader::new(servers.stdout.take().expect("is piped")).lines().map_while(Result::ok);
        let pairs = lines.take_while(|line| !line.is_empty());
        let unquoted = |text: &str| text.trim_matches('\'').to_owned();
        let variables = pairs
            .filter_map(|line| line.split_once('=').map(|(a, b)| (a.to_owned(), unquoted(b))))
            .collect();
        let cluster = Self { servers, variables };
        for address in cluster.variable("CLUSTER_NODES").split(',') {
            cluster.ask(address, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
        }
        cluster
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.get(&format!("MILLPOND_TEST_{name}")).unwrap_or_else(|| panic!("no {name}"))
    }

    fn ask(&self, address: &str, words: &[&str]) -> String {
        let (host, port) = address.rsplit_once(':').expect("host and port");
        let output =
            process::Command::new("redis-cli").args(["-h", host, "-p", port]).args(words).output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).trim().to_owned()
    }

    fn signal(&self, signal: &str) {
        let status =
            process::Command::new("kill").args([signal, self.variable("CLUSTER_1_PID")]).status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// The address of the replica of the first node.
    fn replica(&self) -> String {
        let first = self.variable("CLUSTER_1_ADDRESS");
        let (id, nodes) =
            (self.ask(first, &["CLUSTER", "MYID"]), self.ask(first, &["CLUSTER", "NODES"]));
        let line =
            nodes.lines().find(|line| line.contains("slave") && line.contains(&format!(" {id} ")));
        let address = line.and_then(|line| line.split([' ', '@']).nth(1)).expect("a replica");
        address.to_owned()
    }

    fn strike(&self, event: &str) {
        match event {
            "kill" => self.signal("-9"),
            "stop" => self.signal("-STOP"),
            "planned" => assert_eq!(self.ask(&self.replica(), &["CLUSTER", "FAILOVER"]), "OK"),
            "move" => self.move_slot(),
            other => panic!("{other} is none of kill, stop, planned, move"),
        }
    }

    /// Moves a slot as `redis-cli --cluster reshard` does.
    fn move_slot(&self) {
        let slot = slot_of(MOVED_KEY.as_bytes());
        let owner = 1 + usize::from(slot) * 3 / 16384;
        let (from, to) = (owner, owner % 3 + 1);
        let address = |n: usize| self.variable(&format!("CLUSTER_{n}_ADDRESS")).to_owned();
        let (source, target) = (address(from), address(to));
        let (from_id, to_id) =
            (self.ask(&source, &["CLUSTER", "MYID"]), self.ask(&target, &["CLUSTER", "MYID"]));
        let slot = slot.to_string();
        self.ask(&target, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        self.ask(&source, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        let (host, port) = target.rsplit_once(':').expect("host and port");
        loop {
            let keys = self.ask(&source, &["CLUSTER", "GETKEYSINSLOT", &slot, "10"]);
            let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            self.ask(
                &source,
                &[&["MIGRATE", host, port, "", "0", "1000", "KEYS"][..], &keys].concat(),
            );
        }
        for n in [to, from, to % 3 + 1] {
            self.ask(&address(n), &["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.servers.stdin.take());
        let _ = self.servers.wait();
    }
}

/// What a round has shown.
#[derive(Default)]
struct Round {
    lost_out: f64,
    healthy_out: f64,
    healthy_gap: f64,
    errors: f64,
    healthy_errors: f64,
    strangers: f64,
    behind: f64,
}

async fn round(name: &str, event: &str) -> Round {
    let cluster = Cluster::start();
    let client = Client::open(name, cluster.variable("CLUSTER_URL")).await;
    let until = Instant::now() + BEFORE + AFTER;
    let moving = event == "move";
    let tasks: Vec<_> =
        (0..TASKS).map(|task| tokio::spawn(work(client.clone(), task, until, moving))).collect();
    tokio::time::sleep(BEFORE).await;
    let struck = Instant::now();
    cluster.strike(event);
    let mut reports = Vec::new();
    for task in tasks {
        reports.push(task.await.expect("a task ends"));
    }
    let mut round = Round::default();
    let mut kinds: HashMap<String, u32> = HashMap::new();
    let (mut healthy, mut lost): (Vec<Instant>, Vec<Instant>) = (Vec::new(), Vec::new());
    for sample in reports.iter().flat_map(|report| &report.samples) {
        let since = sample.ended.saturating_duration_since(struck).as_secs_f64();
        match &sample.failure {
            Some(kind) => {
                *kinds.entry(kind.chars().take(70).collect()).or_default() += 1;
                round.errors += 1.0;
                round.healthy_errors += f64::from(u8::from(!sample.is_lost));
                let out = if sample.is_lost { &mut round.lost_out } else { &mut round.healthy_out };
                *out = out.max(since);
            }
            None if sample.is_lost => lost.push(sample.ended),
            None => healthy.push(sample.ended),
        }
    }
    round.healthy_gap = silence(&mut healthy).1;
    // Who waits for an answer has no error, and no service either.
    let (end, gap) = silence(&mut lost);
    if gap > 0.2 {
        round.lost_out = round.lost_out.max(end.map_or(0.0, |end| (end - struck).as_secs_f64()));
    }
    for report in &reports {
        round.strangers += f64::from(report.strangers);
    }
    for (key, acked) in reports.iter().flat_map(|report| &report.acked) {
        let Ok(stored) = tokio::time::timeout(OUTER, client.get(key)).await else {
            eprintln!("  it has not come back");
            break;
        };
        let stored = stored.ok().flatten();
        let stored = stored
            .and_then(|value| value.rsplit_once('=').and_then(|(_, n)| n.parse::<u64>().ok()));
        round.behind += f64::from(u8::from(stored.is_none_or(|stored| stored < *acked)));
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    eprintln!(
        "  lost {:.2} s, healthy {:.2} s, gap {:.2} s; {kinds:.3?}",
        round.lost_out, round.healthy_out, round.healthy_gap
    );
    round
}

/// The longest time between two answers, and when it was over.
fn silence(answers: &mut [Instant]) -> (Option<Instant>, f64) {
    answers.sort();
    let gaps = answers.windows(2).map(|pair| (Some(pair[1]), (pair[1] - pair[0]).as_secs_f64()));
    gaps.fold((None, 0.0), |longest, gap| if gap.1 > longest.1 { gap } else { longest })
}

fn median(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [name, event, rest @ ..] = &args[..] else {
        panic!(
            "failover shared|exclusive|shared-rs|exclusive-rs|fred|deadpool \
             kill|stop|planned|move [ROUNDS]"
        )
    };
    let count = rest.first().map_or(5, |rounds| rounds.parse().expect("a number of rounds"));
    let mut rounds = Vec::new();
    for _ in 0..count {
        rounds.push(round(name, event).await);
    }
    println!(
        "{name} {event}: keys of the lost node unavailable {:.2} s, of the others {:.2} s (longest \
         silence {:.2} s), {} errors ({} for healthy keys), {} answers for another's key, {} \
         acknowledged writes behind (medians of {count})",
        median(&rounds, |round| round.lost_out),
        median(&rounds, |round| round.healthy_out),
        median(&rounds, |round| round.healthy_gap),
        median(&rounds, |round| round.errors),
        median(&rounds, |round| round.healthy_errors),
        median(&rounds, |round| round.strangers),
        median(&rounds, |round| round.behind),
    );
}
