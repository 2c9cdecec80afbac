//! Tasks that each acquire a connection of one pool many times.

use crate::NoOp;
use millpond_core::QueuePool;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, yield_now};

/// How long each task holds its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Not at all.
    Not,
    /// Until other tasks have run.
    Yield,
    /// For this time, as if waiting for a server: the worker can run other tasks meanwhile.
    Span(Duration),
}

impl Hold {
    async fn last(self) {
        match self {
            Self::Not => {}
            Self::Yield => yield_now().await,
            // A timer of the runtime counts whole milliseconds; this is exact.
            Self::Span(span) => {
                let began = Instant::now();
                while began.elapsed() < span {
                    yield_now().await;
                }
            }
        }
    }
}

/// Runs this many tasks that each acquire a connection `turns` times, and waits until all have
/// ended.
pub async fn work(pool: &QueuePool<NoOp>, tasks: u32, turns: u32, hold: Hold) {
    let mut all = JoinSet::new();
    for _ in 0..tasks {
        let pool = pool.clone();
        all.spawn(async move {
            for _ in 0..turns {
                let lease = pool.acquire().await.expect("served within the deadline");
                hold.last().await;
                drop(lease);
            }
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("no task panics");
    }
}
