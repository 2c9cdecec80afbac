//! One task that acquires and returns, uncontended.

use super::runtime;
use crate::competitor::{Competitor, Effort, Figure, Work, filled};
use crate::race::spread;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tokio::task::consume_budget;

/// The number of laps between two readings of the clock.
const LAPS: u32 = 500;

/// Measures a single task on a pool of ten.
#[derive(Debug, Clone, Copy)]
pub struct Alone {
    /// The name of the row.
    pub row: &'static str,
    /// The number of workers of the runtime.
    pub workers: usize,
    /// True if each lap uses some of the task's budget, as real work on a socket does.
    pub budget: bool,
}

impl Work for Alone {
    fn name(&self) -> String {
        self.row.to_owned()
    }

    fn run<P: Competitor>(&self, effort: &Effort) -> Vec<Figure> {
        let (budget, span) = (self.budget, effort.span);
        let task = async move {
            let pool = filled::<P>(10).await;
            if budget {
                cost::<P, true>(&pool, span).await
            } else {
                cost::<P, false>(&pool, span).await
            }
        };
        let runtime = runtime(self.workers);
        let nanos =
            runtime.block_on(async { tokio::spawn(task).await }).expect("a pool does not panic");
        vec![Figure::new(format!("{}{}", self.row, P::VARIANT), "ns", nanos)]
    }
}

/// Returns the cost of one acquire and its return, in nanoseconds.
pub async fn cost<P: Competitor, const BUDGET: bool>(pool: &P, span: Duration) -> f64 {
    measure::<P, BUDGET>(pool, span / 8).await;
    measure::<P, BUDGET>(pool, span).await
}

async fn measure<P: Competitor, const BUDGET: bool>(pool: &P, span: Duration) -> f64 {
    let began = Instant::now();
    let mut chunks = Vec::with_capacity(1 << 14);
    while began.elapsed() < span {
        let chunk = Instant::now();
        for _ in 0..LAPS {
            let lease = pool.acquire().await;
            black_box(&lease);
            drop(lease);
            if BUDGET {
                consume_budget().await;
            }
        }
        chunks.push(chunk.elapsed().as_secs_f64() * 1e9 / f64::from(LAPS));
    }
    // Disturbances of the machine affect some chunks a lot and most not at all.
    spread(&chunks).1
}
