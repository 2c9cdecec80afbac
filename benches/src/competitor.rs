//! What a pool must implement to take part in the race, and what a measurement must.

use crate::books::Books;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A pool in the race. A value is a handle: clones are the same pool.
pub trait Competitor: Clone + Send + Sync + 'static {
    /// The pool's name in the results.
    const NAME: &'static str;
    /// A suffix for the names of its rows, if the pool does not have the settings that its name
    /// stands for.
    const VARIANT: &'static str = "";
    /// The most connections that the pool can have.
    const MAX_CONNECTIONS: u32 = 1_000_000;
    /// True if a waiter is a future that can be parked and dropped, false if it is a blocked
    /// thread.
    const WAITS_AS_FUTURE: bool = true;
    /// True if the counters see when connections are closed, and how much memory they take.
    const BOXED_WIRES: bool = true;

    /// The type of a lease; dropping it returns the connection.
    type Lease<'a>: Send;

    /// Creates the pool, with its best fair settings. It need not have opened a connection yet.
    fn open(books: &Arc<Books>, spec: Spec) -> impl Future<Output = Self> + Send;

    /// Lends a connection, however long that takes. Panics on an error of the pool, since the race
    /// causes none.
    fn acquire(&self) -> impl Future<Output = Self::Lease<'_>> + Send;
}

/// The properties of the pool to create.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The most open connections.
    pub cap: u32,
    /// True to open one connection at a time, if the pool has such a setting.
    pub one_by_one: bool,
}

impl Spec {
    /// Returns the properties of a pool with at most this many connections.
    pub fn of(cap: u32) -> Self {
        Self { cap, one_by_one: false }
    }
}

/// How much time the measurements may take.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How many rounds each pool runs of each measurement.
    pub rounds: u32,
    /// How long one measurement lasts.
    pub span: Duration,
    /// The number of cancelled acquires in the test of what they leave behind.
    pub cancels: u32,
}

impl Effort {
    /// For published results.
    pub const FULL: Self =
        Self { rounds: 11, span: Duration::from_millis(100), cancels: 1_000_000 };
    /// For a quick look during development.
    pub const QUICK: Self = Self { rounds: 5, span: Duration::from_millis(30), cancels: 100_000 };
}

/// A number that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The name of the row.
    pub row: String,
    /// The unit.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
}

impl Figure {
    /// Creates a figure of a row.
    pub fn new(row: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { row: row.into(), unit, value }
    }
}

/// A measurement that every pool performs in the same way.
pub trait Work {
    /// Returns the name to show while the measurement runs.
    fn name(&self) -> String;

    /// Returns the number of rounds to run.
    fn rounds(&self, effort: &Effort) -> u32 {
        effort.rounds
    }

    /// Performs the measurement once with a new pool. Returns nothing if the pool cannot take part
    /// fairly.
    fn run<P: Competitor>(&self, effort: &Effort) -> Vec<Figure>;
}

/// Creates a pool that has opened all its connections and has them back.
pub async fn filled<P: Competitor>(cap: u32) -> P {
    let pool = P::open(&Books::new(), Spec::of(cap)).await;
    fill(&pool, cap).await;
    pool
}

/// Opens this many connections of the pool, and waits until they are returned.
pub async fn fill<P: Competitor>(pool: &P, connections: u32) {
    let mut leases = Vec::new();
    for _ in 0..connections {
        leases.push(pool.acquire().await);
    }
    drop(leases);
    // Some pools return connections in a separate task, which has to run first.
    tokio::time::sleep(Duration::from_millis(5)).await;
}
