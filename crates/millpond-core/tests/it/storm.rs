//! The simulator over the whole pool: the walk of `books.rs` with crowds of users, threads without
//! a runtime, and a look at every connection's life, for as many worlds as one likes. `cargo xtask
//! sim --pool` runs it optimised.
//!
//! After every step: the cap (I1), the sums (I2, I17), deadlines (I9), no more connects at once
//! than may be (I20). What is lent is not dirty (I11) and as new as the last invalidation (I19);
//! where nothing is validated first, in a third of the worlds, it goes to who came first (I5).
//! Every call of the manager and of a hook asks the pool for its status, which would never return
//! under its lock (I14). At the end of a world all faults are gone: every slot is available at once
//! (I10, I12, I21), nothing is opened without a caller (I20), a close leaves nothing (I6), and each
//! connection had one beginning, one end, and its hooks in order (I3, I7, I8). No text shows what a
//! connection is made of (I16).

use crate::books::Walk;
use crate::support::ms;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use tokio::runtime::Builder;
use tokio::time::sleep;

/// The steps of one world before it is healed and closed.
const WORLD_STEPS: u64 = 2_500;

/// What a run without `cargo xtask sim` does.
const STEPS: u64 = 5_000;

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_happens_to_a_pool_its_invariants_hold_and_it_heals() {
    let steps = number("MILLPOND_SIM_STEPS").unwrap_or(STEPS);
    let first = number("MILLPOND_SIM_SEED").unwrap_or(1_000);
    let (mut done, mut faults, mut violations) = (0, 0, 0);
    for seed in first..first + steps.div_ceil(WORLD_STEPS) {
        let length = WORLD_STEPS.min(steps - (seed - first) * WORLD_STEPS);
        let runtime =
            Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        match catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(seed, length)))) {
            Ok(went_wrong) => (done, faults) = (done + length, faults + went_wrong),
            Err(_) => {
                violations += 1;
                eprintln!("VIOLATION in the world of seed {seed}; to see it again:");
                eprintln!("    cargo xtask sim --pool --steps {length} --seed {seed}");
            }
        }
    }
    println!("{done} steps, {faults} faults, {violations} violations");
    assert_eq!(violations, 0, "the commands above show each of them again");
}

/// One world from its beginning to its end. How many things went wrong in it.
async fn live(seed: u64, steps: u64) -> u64 {
    let mut walk = if seed.is_multiple_of(3) { Walk::plain(seed) } else { Walk::new(seed) };
    let pool = walk.world.pool.clone();
    walk.world.manager.probe(move |_| assert!(pool.status().open < 1_000));
    for _ in 0..steps {
        match walk.dice.u32(0..1_000) {
            0 => (0..1_000).for_each(|_| walk.ask()),
            1..20 => walk.loans.pop().into_iter().for_each(drop_elsewhere),
            _ => walk.step(),
        }
        walk.poll_callers();
        let pause = walk.dice.u64(0..12);
        sleep(ms(pause)).await;
        walk.poll_callers();
        walk.check(seed);
    }
    walk.world.manager.probe(|_| {});
    let (faults, manager, shown) =
        (walk.faults, walk.world.manager.clone(), format!("{:?}", walk.world.pool));
    assert!(!shown.contains("ScriptedConnection"), "I16: {shown}");
    walk.finish(seed).await;
    let most = manager.attempts().iter().map(|attempt| attempt.info.id.get()).max().unwrap_or(0);
    (1..=most).for_each(|id| assert_life(id, &manager.story(id)));
    faults
}

/// Drops a lease where there is no runtime (I18).
fn drop_elsewhere<T: Send + 'static>(lease: T) {
    thread::spawn(move || drop(lease)).join().unwrap();
}

/// A connection is opened once, greeted once, and nothing follows its close.
fn assert_life(id: u64, story: &str) {
    let calls: Vec<&str> = story.split(' ').filter(|call| !call.is_empty()).collect();
    let count = |name: &str| calls.iter().filter(|call| **call == name).count();
    for once in ["connect", "on_first_connect", "on_connect", "on_close", "close"] {
        assert!(count(once) <= 1, "I7: {once} more than once for connection {id}: {story}");
    }
    assert!(
        calls.is_empty() || calls.first() == Some(&"connect"),
        "I7: connection {id} began with {story}"
    );
    let end = calls
        .iter()
        .position(|call| *call == "on_close" || *call == "close")
        .unwrap_or(calls.len());
    let after =
        calls.iter().skip(end).filter(|call| **call != "on_close" && **call != "close").count();
    assert_eq!(after, 0, "I8: something follows the close of connection {id}: {story}");
    let used = calls.iter().position(|call| *call == "on_checkout" || *call == "triage");
    let greeted = calls.iter().position(|call| *call == "on_connect");
    assert!(
        used.is_none() || greeted < used,
        "I8: connection {id} was used before it was greeted: {story}"
    );
}
