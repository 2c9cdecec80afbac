//! HikariCP's spike test: fifty requests at once on five idle connections. A pool that opens far
//! more connections than the burst needs puts load on the server at a bad time.

use super::runtime;
use crate::books::Books;
use crate::competitor::{Competitor, Effort, Figure, Spec, Work, fill};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

const REQUESTS: u32 = 50;
const IDLE: u32 = 5;
const CONNECT: Duration = Duration::from_millis(150);
const QUERY: Duration = Duration::from_millis(2);

/// Measures the burst, on a pool that may open fifty connections.
#[derive(Debug, Clone, Copy)]
pub struct Spike {
    /// The name of the row for the connections open at the end.
    pub row: &'static str,
    /// The name of the row for the duration of the burst.
    pub time: &'static str,
    /// True if the pool should open one connection at a time.
    pub one_by_one: bool,
}

impl Work for Spike {
    fn name(&self) -> String {
        self.row.to_owned()
    }

    fn rounds(&self, effort: &Effort) -> u32 {
        // Each round takes half a second, with nearly the same result.
        if effort.rounds >= Effort::FULL.rounds { 5 } else { 1 }
    }

    fn run<P: Competitor>(&self, _: &Effort) -> Vec<Figure> {
        let one_by_one = self.one_by_one;
        let (open, took) = runtime(2).block_on(async move {
            let books = Books::new();
            let pool = P::open(&books, Spec { cap: REQUESTS, one_by_one }).await;
            fill(&pool, IDLE).await;
            books.connect_takes(CONNECT);
            let began = Instant::now();
            let mut requests = JoinSet::new();
            for _ in 0..REQUESTS {
                let pool = pool.clone();
                requests.spawn(async move {
                    let lease = pool.acquire().await;
                    sleep(QUERY).await;
                    drop(lease);
                });
            }
            while requests.join_next().await.is_some() {}
            let took = began.elapsed();
            // Waits for connects that are under way.
            sleep(CONNECT * 2).await;
            (books.alive(), took)
        });
        vec![
            Figure::new(self.row, "connections", f64::from(open)),
            Figure::new(self.time, "ms", took.as_secs_f64() * 1e3),
        ]
    }
}
