//! One task that acquires and returns, with nobody else about.

use super::runtime;
use crate::competitor::{Competitor, Effort, Figure, Work, filled};
use crate::race::spread;
use std::hint::black_box;
use std::time::{Duration, Instant};
use tokio::task::consume_budget;

/// Laps of a chunk, between two looks at the clock.
const LAPS: u32 = 500;

/// A task alone on a pool of ten.
#[derive(Debug, Clone, Copy)]
pub struct Alone {
    /// The row.
    pub row: &'static str,
    /// The workers of the runtime.
    pub workers: usize,
    /// Whether each lap uses up some of the task's budget, as real work on a socket does.
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

/// What one acquire and its return cost, in nanoseconds.
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
    // What the machine does meanwhile hits some chunks hard and most not at all.
    spread(&chunks).1
}
