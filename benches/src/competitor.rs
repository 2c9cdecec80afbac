//! What a pool must be able to do to take part in the race, and what a kind of work is.

use crate::books::Books;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A pool in the race. A value is a handle: clones are the same pool.
pub trait Competitor: Clone + Send + Sync + 'static {
    /// Its name in the results.
    const NAME: &'static str;
    /// What is appended to the names of its rows, if it is a pool with other settings than its name
    /// stands for.
    const VARIANT: &'static str = "";
    /// The most connections that it can be asked for.
    const MAX_CONNECTIONS: u32 = 1_000_000;
    /// Whether who waits is a future that can be parked and dropped, rather than a blocked thread.
    const WAITS_AS_FUTURE: bool = true;
    /// Whether the books see when its connections are closed, and their memory.
    const BOXED_WIRES: bool = true;

    /// What it lends; the connection goes back when this is dropped.
    type Lease<'a>: Send;

    /// Makes the pool, at its best fair settings. It need not have opened anything yet.
    fn open(books: &Arc<Books>, spec: Spec) -> impl Future<Output = Self> + Send;

    /// Lends a connection, however long that takes. An error of the pool is a panic: in the race
    /// there is none.
    fn acquire(&self) -> impl Future<Output = Self::Lease<'_>> + Send;
}

/// The pool that is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The most connections it may have open.
    pub cap: u32,
    /// Whether to open one connection at a time, where the pool has such a setting.
    pub one_by_one: bool,
}

impl Spec {
    /// A pool of at most so many connections.
    pub fn of(cap: u32) -> Self {
        Self { cap, one_by_one: false }
    }
}

/// How much time there is.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How often each pool has its turn in each kind of work.
    pub rounds: u32,
    /// How long one measurement lasts.
    pub span: Duration,
    /// Cancelled acquires in the test of what they leave behind.
    pub cancels: u32,
}

impl Effort {
    /// For figures to publish.
    pub const FULL: Self =
        Self { rounds: 11, span: Duration::from_millis(100), cancels: 1_000_000 };
    /// For a look while working.
    pub const QUICK: Self = Self { rounds: 5, span: Duration::from_millis(30), cancels: 100_000 };
}

/// One number that a work has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub row: String,
    /// In which unit.
    pub unit: &'static str,
    /// How much.
    pub value: f64,
}

impl Figure {
    /// A figure of a row.
    pub fn new(row: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { row: row.into(), unit, value }
    }
}

/// A kind of work that every pool does in the same way.
pub trait Work {
    /// What is said while it runs.
    fn name(&self) -> String;

    /// How many rounds it needs if the effort allows so many.
    fn rounds(&self, effort: &Effort) -> u32 {
        effort.rounds
    }

    /// Does it once with a new pool. Nothing is found if the pool cannot do this work in a fair
    /// way.
    fn run<P: Competitor>(&self, effort: &Effort) -> Vec<Figure>;
}

/// A new pool that has opened all its connections and has them all back.
pub async fn filled<P: Competitor>(cap: u32) -> P {
    let pool = P::open(&Books::new(), Spec::of(cap)).await;
    fill(&pool, cap).await;
    pool
}

/// Has the pool open so many connections, and waits until they are back.
pub async fn fill<P: Competitor>(pool: &P, connections: u32) {
    let mut leases = Vec::new();
    for _ in 0..connections {
        leases.push(pool.acquire().await);
    }
    drop(leases);
    // Some give connections back by a task of its own, which has to run first.
    tokio::time::sleep(Duration::from_millis(5)).await;
}
