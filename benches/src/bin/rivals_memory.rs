//! Compares the pools' use of memory: allocations per operation, bytes per slot and per waiter, and
//! what cancelled acquires leave behind. Prints a line of JSON for each row and pool:
//! `rivals_memory [--quick] [--without NAME]..`.
//!
//! Only allocations of the measuring thread are counted, and the runtime has no other thread; a
//! driver's own threads are not counted.

use allocation_counter::measure;
use benches::books::Books;
use benches::competitor::{Competitor, Effort, Figure, Spec, Work, fill, filled};
use benches::entrant::Entrant;
use benches::parked_waiters::poll_once;
use benches::race::race;
use benches::work::runtime;
use std::env;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use tokio::task::unconstrained;

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    let effort = if args.iter().any(|arg| arg == "--quick") { Effort::QUICK } else { Effort::FULL };
    let left_out: Vec<&String> =
        args.windows(2).filter(|pair| pair[0] == "--without").map(|pair| &pair[1]).collect();
    let entrants: Vec<Entrant> = Entrant::ALL
        .into_iter()
        .filter(|entrant| left_out.iter().all(|name| *name != entrant.name()))
        .collect();
    let defaults: Vec<Entrant> =
        entrants.iter().copied().filter(|entrant| entrant.is_default()).collect();
    race(&Allocations, &entrants, &effort);
    race(&Bytes, &defaults, &effort);
    race(&Cancels, &defaults, &effort);
}

/// Allocations of an acquire and its return, for an idle connection and for one that is waited for.
struct Allocations;

impl Work for Allocations {
    fn name(&self) -> String {
        "allocs".to_owned()
    }

    fn rounds(&self, effort: &Effort) -> u32 {
        counted_rounds(effort)
    }

    fn run<P: Competitor>(&self, _: &Effort) -> Vec<Figure> {
        const LAPS: u32 = 10_000;
        let runtime = runtime(1);
        let pool = runtime.block_on(filled::<P>(10));
        let idle = || runtime.block_on(unconstrained(take_and_return(&pool, LAPS)));
        idle();
        let allocs = measure(idle).count_total as f64 / f64::from(LAPS);
        let mut figures =
            vec![Figure::new(format!("allocs_uncontended{}", P::VARIANT), "allocations", allocs)];
        // A blocking acquire has no such number.
        if P::WAITS_AS_FUTURE {
            let pool = runtime.block_on(filled::<P>(1));
            let wait = || runtime.block_on(unconstrained(wait_and_return(&pool, LAPS)));
            wait();
            let allocs = measure(wait).count_total as f64 / f64::from(LAPS);
            figures.push(Figure::new(format!("allocs_wait{}", P::VARIANT), "allocations", allocs));
        }
        figures
    }
}

async fn take_and_return<P: Competitor>(pool: &P, laps: u32) {
    for _ in 0..laps {
        drop(pool.acquire().await);
    }
}

/// Acquires in a row, each of which has to wait for the one before it.
async fn wait_and_return<P: Competitor>(pool: &P, laps: u32) {
    let mut lease = pool.acquire().await;
    for _ in 0..laps {
        let mut next = pin!(pool.acquire());
        assert!(poll_once(next.as_mut()).await.is_pending(), "the only connection is out");
        drop(lease);
        lease = next.await;
    }
}

/// The bytes of an idle slot, including its connection (a box of 16 bytes), and of a waiter,
/// including its boxed future.
struct Bytes;

impl Work for Bytes {
    fn name(&self) -> String {
        "bytes".to_owned()
    }

    fn rounds(&self, effort: &Effort) -> u32 {
        counted_rounds(effort)
    }

    fn run<P: Competitor>(&self, _: &Effort) -> Vec<Figure> {
        const FEW: u32 = 10;
        const MANY: u32 = 1_010;
        let mut figures = Vec::new();
        // A blocking pool opens connections on its own threads, where they are not counted.
        if P::BOXED_WIRES && P::WAITS_AS_FUTURE {
            let idle =
                (pool_bytes::<P>(MANY) - pool_bytes::<P>(FEW)) as f64 / f64::from(MANY - FEW);
            figures.push(Figure::new("bytes_idle", "bytes", idle));
        }
        if P::WAITS_AS_FUTURE {
            figures.push(Figure::new("bytes_waiter", "bytes", waiter_bytes::<P>()));
        }
        figures
    }
}

fn pool_bytes<P: Competitor>(places: u32) -> i64 {
    let runtime = runtime(1);
    let mut kept = None;
    let counted = measure(|| {
        kept = Some(runtime.block_on(async {
            let pool = P::open(&Books::new(), Spec::of(places)).await;
            fill(&pool, places).await;
            pool
        }));
    });
    drop(kept);
    counted.bytes_current
}

fn waiter_bytes<P: Competitor>() -> f64 {
    const WAITERS: usize = 1_000;
    runtime(1).block_on(unconstrained(async {
        let pool = filled::<P>(1).await;
        let lease = pool.acquire().await;
        let mut parked = Vec::with_capacity(WAITERS);
        let counted = poll_fn(|cx| {
            Poll::Ready(measure(|| {
                for _ in 0..WAITERS {
                    let mut acquire = Box::pin(pool.acquire());
                    assert!(acquire.as_mut().poll(cx).is_pending(), "the only connection is out");
                    parked.push(acquire);
                }
            }))
        })
        .await;
        drop(parked);
        drop(lease);
        counted.bytes_current as f64 / WAITERS as f64
    }))
}

/// The memory that many cancelled acquires leave behind.
struct Cancels;

impl Work for Cancels {
    fn name(&self) -> String {
        "cancelled_left".to_owned()
    }

    fn rounds(&self, _: &Effort) -> u32 {
        1
    }

    fn run<P: Competitor>(&self, effort: &Effort) -> Vec<Figure> {
        if !P::WAITS_AS_FUTURE {
            return Vec::new();
        }
        let runtime = runtime(1);
        let pool = runtime.block_on(filled::<P>(1));
        let give_up = |times: u32| {
            runtime.block_on(unconstrained(async {
                let lease = pool.acquire().await;
                for _ in 0..times {
                    let acquire = pin!(pool.acquire());
                    assert!(poll_once(acquire).await.is_pending(), "the only connection is out");
                }
                drop(lease);
            }));
        };
        give_up(1_000);
        let left = measure(|| give_up(effort.cancels)).bytes_current;
        vec![Figure::new("cancelled_left", "bytes", left as f64)]
    }
}

/// Returns the number of rounds: counts do not vary as times do, and three rounds show that.
fn counted_rounds(effort: &Effort) -> u32 {
    effort.rounds.min(3)
}
