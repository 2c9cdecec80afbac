//! HikariCP's spike test: fifty requests at once meet five idle connections. Who opens far more
//! than it takes to serve them makes the server's bad moment worse.

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

/// The burst, on a pool that may open fifty.
#[derive(Debug, Clone, Copy)]
pub struct Spike {
    /// The row of how many are open at the end.
    pub row: &'static str,
    /// The row of how long the burst took.
    pub time: &'static str,
    /// Whether the pool shall open one at a time.
    pub one_by_one: bool,
}

impl Work for Spike {
    fn name(&self) -> String {
        self.row.to_owned()
    }

    fn rounds(&self, effort: &Effort) -> u32 {
        // Half a second each, and nearly the same each time.
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
            // What was on its way arrives.
            sleep(CONNECT * 2).await;
            (books.alive(), took)
        });
        vec![
            Figure::new(self.row, "connections", f64::from(open)),
            Figure::new(self.time, "ms", took.as_secs_f64() * 1e3),
        ]
    }
}
