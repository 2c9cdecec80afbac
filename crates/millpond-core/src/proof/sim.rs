//! The simulator of the ledger: users, a server that fails in every way, time and chance, all from
//! one seed.
//!
//! A world is one pool from its first acquire to its last close. Each step is one event: somebody
//! asks, gives back, goes away; a connect, ping, reset or close ends well or badly or not at all;
//! time passes; somebody resizes, suspends, invalidates, or takes the runtime away. After every
//! step the invariants I1 to I22 are checked (`invariants.rs` says which is what). In the end the
//! server is healed, and every waiter must be served and every slot must be free.
//!
//! `cargo xtask sim` runs it optimised for as long as one likes, and a seed that fails prints the
//! command to see it again.

mod borrower;
mod caller;
mod desk;
mod heal;
mod invariants;
mod job;
mod known;
mod plan;
mod server;
mod users;
mod world;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use world::World;

/// The steps of one world before it is healed and closed.
const WORLD_STEPS: u64 = 20_000;

/// What a run without `cargo xtask sim` does: a short one, of the same seeds each time.
const STEPS: u64 = 400_000;

/// What all worlds of a run came to.
#[derive(Debug, Default)]
struct Sum {
    next_seed: AtomicU64,
    steps: AtomicU64,
    faults: AtomicU64,
    violations: AtomicU64,
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Runs one world after the other until so many steps are done or planned.
fn work(sum: &Sum, first_seed: u64, steps: u64) {
    let worlds = steps.div_ceil(WORLD_STEPS);
    loop {
        let n = sum.next_seed.fetch_add(1, Ordering::Relaxed);
        if n >= worlds {
            return;
        }
        let (seed, length) = (first_seed.wrapping_add(n), WORLD_STEPS.min(steps - n * WORLD_STEPS));
        let lived = catch_unwind(AssertUnwindSafe(|| World::new(seed).live(length)));
        match lived {
            Ok(life) => {
                sum.steps.fetch_add(life.steps, Ordering::Relaxed);
                sum.faults.fetch_add(life.faults, Ordering::Relaxed);
            }
            Err(_) => {
                sum.violations.fetch_add(1, Ordering::Relaxed);
                eprintln!("VIOLATION in the world of seed {seed}; to see it again:");
                eprintln!("    cargo xtask sim --steps {length} --seed {seed}");
            }
        }
    }
}

#[test]
fn whatever_happens_in_whatever_order_the_invariants_hold_and_everybody_is_served_in_the_end() {
    let steps = number("MILLPOND_SIM_STEPS").unwrap_or(STEPS);
    let seed = number("MILLPOND_SIM_SEED").unwrap_or(1);
    let sum = Sum::default();
    let hands = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..hands {
            scope.spawn(|| work(&sum, seed, steps));
        }
    });
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    println!(
        "{} steps, {} faults, {} violations",
        count(&sum.steps),
        count(&sum.faults),
        count(&sum.violations)
    );
    assert_eq!(count(&sum.violations), 0, "the commands above show each of them again");
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in [3, 77] {
        assert_eq!(World::new(seed).live(3_000), World::new(seed).live(3_000));
    }
}
