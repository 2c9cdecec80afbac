//! Compares the cost of an acquire in a large and in a small pool, and behind a long and a short
//! queue.

use super::alone::cost;
use super::runtime;
use crate::books::Books;
use crate::competitor::{Competitor, Effort, Figure, Spec, Work, filled};
use crate::parked_waiters::{park, poll_once};
use crate::race::spread;
use std::collections::VecDeque;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::task::unconstrained;

const FEW: u32 = 10;
const MANY_PLACES: u32 = 10_000;
const MANY_WAITERS: u32 = 100_000;

/// The number of laps between two readings of the clock.
const LAPS: u32 = 100;

/// Measures an acquire and its return with 10,000 and with 10 idle connections.
#[derive(Debug, Clone, Copy)]
pub struct Places;

impl Work for Places {
    fn name(&self) -> String {
        "growth_size".to_owned()
    }

    fn run<P: Competitor>(&self, effort: &Effort) -> Vec<Figure> {
        if P::MAX_CONNECTIONS < MANY_PLACES {
            return Vec::new();
        }
        let span = effort.span / 2;
        let alone = async |places| {
            let pool = filled::<P>(places).await;
            cost::<P, false>(&pool, span).await
        };
        let runtime = runtime(1);
        let few = runtime.block_on(alone(FEW));
        let many = runtime.block_on(alone(MANY_PLACES));
        vec![Figure::new("growth_size", "x", many / few), Figure::new("size10000", "ns", many)]
    }
}

/// Measures joining, serving and cancelling a waiter, with 100,000 and with 10 waiters in the
/// queue.
#[derive(Debug, Clone, Copy)]
pub struct Waiters;

/// The costs at one length of the queue, in nanoseconds.
struct Costs {
    join_and_leave: f64,
    served: f64,
    cancelled: f64,
}

impl Work for Waiters {
    fn name(&self) -> String {
        "growth_waiters".to_owned()
    }

    fn rounds(&self, effort: &Effort) -> u32 {
        effort.rounds.min(5)
    }

    fn run<P: Competitor>(&self, effort: &Effort) -> Vec<Figure> {
        if !P::WAITS_AS_FUTURE {
            return Vec::new();
        }
        let span = effort.span / 4;
        let runtime = runtime(1);
        // Without a task budget, which would make some pools refuse a waiter before it has joined.
        let few = runtime.block_on(unconstrained(queue::<P>(FEW, span)));
        let many = runtime.block_on(unconstrained(queue::<P>(MANY_WAITERS, span)));
        vec![
            Figure::new("growth_waiters", "x", many.join_and_leave / few.join_and_leave),
            Figure::new("join_and_leave", "ns", many.join_and_leave),
            Figure::new("growth_served", "x", many.served / few.served),
            Figure::new("cancel_waiter", "ns", many.cancelled),
            Figure::new("cancel_waiter_of_10", "ns", few.cancelled),
        ]
    }
}

async fn queue<P: Competitor>(waiters: u32, span: Duration) -> Costs {
    let pool = P::open(&Books::new(), Spec::of(1)).await;
    let join_and_leave = join_and_leave(&pool, waiters, span).await;
    let served = serve(&pool, waiters, span).await;
    let cancelled = cancel(&pool, waiters).await;
    Costs { join_and_leave, served, cancelled }
}

/// Measures a waiter that joins the end of the queue and leaves it again.
async fn join_and_leave<P: Competitor>(pool: &P, waiters: u32, span: Duration) -> f64 {
    let lease = pool.acquire().await;
    let parked = park(pool, waiters as usize).await;
    let (began, mut chunks) = (Instant::now(), Vec::new());
    while began.elapsed() < span {
        let chunk = Instant::now();
        for _ in 0..LAPS {
            let acquire = pin!(pool.acquire());
            assert!(poll_once(acquire).await.is_pending(), "others wait already");
        }
        chunks.push(chunk.elapsed().as_secs_f64() * 1e9 / f64::from(LAPS));
    }
    let nanos = spread(&chunks).1;
    drop(parked);
    drop(lease);
    nanos
}

/// Measures passing the connection from the oldest waiter to the next; each served waiter joins the
/// queue again.
async fn serve<P: Competitor>(pool: &P, waiters: u32, span: Duration) -> f64 {
    let mut lease = pool.acquire().await;
    let mut parked = VecDeque::from(park(pool, waiters as usize).await);
    let (began, mut chunks) = (Instant::now(), Vec::new());
    while began.elapsed() < span {
        let chunk = Instant::now();
        for _ in 0..LAPS {
            drop(lease);
            let Some(oldest) = parked.pop_front() else { return f64::NAN };
            lease = oldest.await;
            parked.extend(park(pool, 1).await);
        }
        chunks.push(chunk.elapsed().as_secs_f64() * 1e9 / f64::from(LAPS));
    }
    let nanos = spread(&chunks).1;
    drop(parked);
    drop(lease);
    nanos
}

/// Measures cancelling all waiters, in an order unrelated to that of the queue.
async fn cancel<P: Competitor>(pool: &P, waiters: u32) -> f64 {
    let lease = pool.acquire().await;
    let mut spent = Duration::ZERO;
    let mut cancelled = 0;
    while cancelled < 10_000 {
        let mut parked: Vec<_> = park(pool, waiters as usize).await.into_iter().map(Some).collect();
        let began = Instant::now();
        // A stride without a common factor with the number of waiters visits each waiter once.
        let stride = 7_919;
        for step in 0..waiters as usize {
            if let Some(place) = parked.get_mut(step * stride % waiters as usize) {
                *place = None;
            }
        }
        spent += began.elapsed();
        cancelled += waiters;
    }
    drop(lease);
    spent.as_secs_f64() * 1e9 / f64::from(cancelled)
}
