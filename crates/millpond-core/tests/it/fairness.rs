//! A caller that asks in a loop, with success or without, lets the other tasks of its runtime run.

use crate::support::{World, ms, secs, timed};
use millpond_testkit::{Act, ByHand, Call};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::sleep;

/// A number of attempts after which a loop without a pause has starved everybody else.
const MOST: u32 = 300_000;

/// How many times a caller had to ask who asks again at once whatever the answer was.
async fn insist(world: &World) -> Option<u32> {
    for attempts in 1..MOST {
        if world.pool.acquire().await.is_ok() {
            return Some(attempts);
        }
    }
    None
}

fn failing_world() -> World {
    let world = World::with(2, 0, |builder| builder.pool_timeout(secs(1)).fail_fast_after(ms(1)));
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    world
}

#[tokio::test(start_paused = true)]
async fn callers_who_retry_without_a_pause_are_served_when_the_server_is_back() {
    let world = Arc::new(failing_world());
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { insist(&world).await })
        })
        .collect();
    sleep(secs(35)).await;
    world.manager.heal();
    let (attempts, took) = timed(async {
        let mut most = 0;
        for caller in callers {
            most = most.max(caller.await.unwrap().expect("it was never served"));
        }
        most
    })
    .await;
    assert!(took <= ms(250), "{took:?}");
    assert!((100..=35_000).contains(&attempts), "{attempts} attempts in 35 s");
    world.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_retry_without_a_pause_do_not_freeze_their_runtime() {
    let world = Arc::new(failing_world());
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { insist(&world).await })
        })
        .collect();
    while world.trace.count("failing fast") == 0 {
        yield_now().await;
    }
    let other = tokio::spawn(async { yield_now().await });
    other.await.unwrap();
    world.manager.heal();
    for caller in callers {
        assert!(caller.await.unwrap().is_some(), "it was never served");
    }
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn only_from_the_second_in_a_row_a_refusal_takes_some_milliseconds() {
    let world = failing_world();
    assert!(world.pool.acquire().await.is_err());
    world.pool.prewarm(1).await.unwrap_err();
    let (first, took) = timed(world.pool.acquire()).await;
    assert!(first.is_err() && took.is_zero(), "{took:?}");
    let (second, took) = timed(world.pool.acquire()).await;
    assert!(second.is_err() && took >= ms(1) && took <= ms(6), "{took:?}");
    let (short, took) = timed(world.pool.acquire_within(Duration::from_micros(100))).await;
    assert!(short.is_err() && took <= ms(2), "no longer than its own limit: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_who_is_refused_is_served_if_the_server_comes_back_in_that_moment() {
    let world = failing_world();
    assert!(world.pool.acquire().await.is_err());
    assert!(world.pool.acquire().await.is_err());
    world.manager.heal();
    let mut served = 0;
    for _ in 0..300 {
        served += u32::from(world.pool.acquire().await.is_ok());
        if served > 0 {
            break;
        }
    }
    assert_eq!(served, 1);
    world.assert_sound().await;
}

/// Another task gets its turn while this one does the same again and again.
async fn others_run_beside(what: &str, mut once: impl AsyncFnMut()) {
    let ran = Arc::new(AtomicBool::new(false));
    let other = Arc::clone(&ran);
    tokio::spawn(async move { other.store(true, Ordering::Relaxed) });
    for _ in 0..MOST {
        once().await;
        if ran.load(Ordering::Relaxed) {
            return;
        }
    }
    panic!("{what}: {MOST} laps, and no other task has run");
}

#[tokio::test]
async fn a_task_that_acquires_and_returns_all_the_time_lets_others_run() {
    for world in [World::unwatched(2, 0, |builder| builder), World::new(2, 0)] {
        world.idle(1).await;
        others_run_beside("acquire and return", async || drop(world.lease().await)).await;
    }
}

#[tokio::test]
async fn a_task_that_is_refused_all_the_time_lets_others_run() {
    let world = World::with(1, 0, |builder| builder.max_waiters(1));
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    let refused = async || assert!(world.pool.acquire().await.is_err());
    others_run_beside("one waiter too many", refused).await;
    let without_patience =
        async || assert!(world.pool.acquire_within(Duration::ZERO).await.is_err());
    others_run_beside("nothing is ready", without_patience).await;
    drop((waiter, lease));
    assert!(world.pool.close().await.is_clean());
    others_run_beside("the pool is closed", refused).await;
    others_run_beside("nothing to warm", async || assert!(world.pool.prewarm(1).await.is_err()))
        .await;
}
