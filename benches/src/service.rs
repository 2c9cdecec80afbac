//! End to end: tasks that ask a real database one small question after the other, through a pool or
//! without one.

use crate::competitor::Effort;
use crate::race::Outcome;
use crate::work::runtime;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How the question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// On the pool itself, as most code does.
    Query,
    /// By a helper that takes the driver's own connection, of which a pool that watches over it
    /// loses sight meanwhile.
    Raw,
}

/// A way to a database. A value is a handle: clones are the same pool.
pub trait Service: Clone + Send + Sync + 'static {
    /// Its name in the results.
    const NAME: &'static str;

    /// Makes the pool at its default settings, of so many connections.
    fn open(url: &str, connections: u32) -> impl Future<Output = Self> + Send;

    /// Asks and gets the answer. `task` says which of the tasks it is. An error is a panic: in the
    /// race there is none.
    fn ask(&self, task: usize, turn: Turn) -> impl Future<Output = ()> + Send;

    /// Closes all connections.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// So many tasks on ten connections.
#[derive(Clone, Copy)]
pub struct Crowd<'a> {
    /// The row.
    pub row: &'static str,
    /// The row of how long one question in a thousand takes at least; with it, all are timed.
    pub tail: Option<&'static str>,
    /// Where the database is.
    pub url: &'a str,
    /// How many tasks.
    pub tasks: usize,
    /// How they ask.
    pub turn: Turn,
}

/// Without the URL, which may hold a password.
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

/// What one round has found.
struct Found {
    /// Questions answered in a second.
    throughput: f64,
    /// How long one in a thousand takes at least, in microseconds.
    tail: f64,
}

impl Contender {
    /// This service.
    pub fn of<S: Service>() -> Self {
        Self { name: S::NAME, run: round::<S> }
    }
}

const CONNECTIONS: u32 = 10;

/// A round takes so many times the span of the effort: a server on the same machine needs longer to
/// get into its stride.
const SPANS: u32 = 4;

/// There are so many times the rounds of the effort: which connection shares a core with which
/// server process is a matter of luck for a whole round.
const ROUNDS: u32 = 2;

impl Crowd<'_> {
    /// Has all of them do it in turn, round by round, and prints what was found.
    pub fn race(self, contenders: &[Contender], effort: &Effort) {
        let (began, count) = (Instant::now(), effort.rounds * ROUNDS);
        let mut found: Vec<Vec<Found>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..count as usize {
            // Nobody always comes after the same neighbour.
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
        // All connections are open and have prepared the statement before anything is counted.
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

/// What tasks have done.
#[derive(Default)]
struct Done {
    answers: u64,
    /// How long each answer took, in nanoseconds; empty if nobody looked.
    times: Vec<u32>,
}

/// What all tasks together get done within the span.
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
