//! End-to-end measurements: tasks that send small queries to a real database, through a pool or
//! without one.

use crate::competitor::Effort;
use crate::race::Outcome;
use crate::work::runtime;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How a query is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Through the pool itself, as most code does.
    Query,
    /// Through a function that takes the driver's own connection, which a pool cannot track
    /// meanwhile.
    Raw,
}

/// Access to a database. A value is a handle: clones are the same pool.
pub trait Service: Clone + Send + Sync + 'static {
    /// The service's name in the results.
    const NAME: &'static str;

    /// Creates the pool with default settings and this many connections.
    fn open(url: &str, connections: u32) -> impl Future<Output = Self> + Send;

    /// Sends a query and checks the answer. `task` is the number of the calling task. Panics on an
    /// error, since the race causes none.
    fn ask(&self, task: usize, turn: Turn) -> impl Future<Output = ()> + Send;

    /// Closes all connections.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// A number of tasks on ten connections.
#[derive(Clone, Copy)]
pub struct Crowd<'a> {
    /// The name of the row for the throughput.
    pub row: &'static str,
    /// The name of the row for the time that the slowest query in a thousand exceeds; if set, every
    /// query is timed.
    pub tail: Option<&'static str>,
    /// The URL of the database.
    pub url: &'a str,
    /// The number of tasks.
    pub tasks: usize,
    /// How the tasks send queries.
    pub turn: Turn,
}

/// Omits the URL, which may contain a password.
impl fmt::Debug for Crowd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row, tasks, turn, .. } = self;
        f.debug_struct("Crowd")
            .field("row", row)
            .field("tasks", tasks)
            .field("turn", turn)
            .finish_non_exhaustive()
    }
}

/// A service that takes part, without its type.
#[derive(Debug, Clone, Copy)]
pub struct Contender {
    name: &'static str,
    run: fn(Crowd<'_>, Duration) -> Found,
}

/// The results of one round.
struct Found {
    /// Queries per second.
    throughput: f64,
    /// The 99.9th percentile of the query time, in microseconds.
    tail: f64,
}

impl Contender {
    /// Returns the contender for a service type.
    pub fn of<S: Service>() -> Self {
        Self { name: S::NAME, run: round::<S> }
    }
}

const CONNECTIONS: u32 = 10;

/// A round lasts this many times the usual span: a server on the same machine needs longer to warm
/// up.
const SPANS: u32 = 4;

/// There are this many times the usual rounds: which connection shares a core with which server
/// process is random for a whole round.
const ROUNDS: u32 = 2;

impl Crowd<'_> {
    /// Runs all contenders in turn, round by round, and prints the results.
    pub fn race(self, contenders: &[Contender], effort: &Effort) {
        let (began, count) = (Instant::now(), effort.rounds * ROUNDS);
        let mut found: Vec<Vec<Found>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..count as usize {
            // The order changes, so that no contender always runs after the same other one.
            for turn in 0..contenders.len() {
                let at = (round + turn) % contenders.len();
                found[at].push((contenders[at].run)(self, effort.span * SPANS));
            }
        }
        for (contender, rounds) in contenders.iter().zip(&found) {
            let throughputs = rounds.iter().map(|found| found.throughput).collect();
            Outcome::of_rounds(self.row, contender.name, "ops/s", throughputs).print();
            if let Some(row) = self.tail {
                let tails = rounds.iter().map(|found| found.tail).collect();
                Outcome::of_rounds(row, contender.name, "us", tails).print();
            }
        }
        eprintln!(
            "rivals: {} ({} rounds, {:.1} s)",
            self.row,
            count,
            began.elapsed().as_secs_f64()
        );
    }
}

fn round<S: Service>(crowd: Crowd<'_>, span: Duration) -> Found {
    let runtime = runtime(2);
    runtime.block_on(async {
        let service = S::open(crowd.url, CONNECTIONS).await;
        // Opens all connections and prepares the statement on them before anything is counted.
        work(&service, crowd, span / 8).await;
        let began = Instant::now();
        let Done { answers, mut times } = work(&service, crowd, span).await;
        let throughput = answers as f64 / began.elapsed().as_secs_f64();
        service.close().await;
        times.sort_unstable();
        let last = times.len().saturating_sub(1);
        let tail = times.get(last - last / 1000).copied().map_or(f64::NAN, f64::from);
        Found { throughput, tail: tail / 1e3 }
    })
}

/// The results of the tasks.
#[derive(Default)]
struct Done {
    answers: u64,
    /// The time of each query in nanoseconds; empty if they are not timed.
    times: Vec<u32>,
}

/// Runs all tasks for the span and returns their results.
async fn work<S: Service>(service: &S, crowd: Crowd<'_>, span: Duration) -> Done {
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for task in 0..crowd.tasks {
        let (service, over, turn, is_timed) =
            (service.clone(), Arc::clone(&over), crowd.turn, crowd.tail.is_some());
        tasks.push(tokio::spawn(async move {
            let mut done = Done::default();
            while !over.load(Ordering::Relaxed) {
                let asked = is_timed.then(Instant::now);
                service.ask(task, turn).await;
                let took = asked.map(|asked| asked.elapsed().as_nanos());
                done.times.extend(took.map(|took| u32::try_from(took).unwrap_or(u32::MAX)));
                done.answers += 1;
            }
            done
        }));
    }
    tokio::time::sleep(span).await;
    over.store(true, Ordering::Relaxed);
    let mut all = Done::default();
    for task in tasks {
        let done = task.await.expect("a pool does not panic");
        all.answers += done.answers;
        all.times.extend(done.times);
    }
    all
}
