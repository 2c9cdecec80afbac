//! An acquire is dropped after every number of polls, while everything else goes right or wrong.

use crate::support::{World, assert_books_closed, ms, quiet, secs};
use millpond_testkit::{Act, ByHand, Call, CutCase, cancel_sweep, poll_n};
use std::time::Duration;
use tokio::time::sleep;

/// What the pool is like when the acquire comes.
#[derive(Debug, Clone, Copy)]
enum Start {
    Empty,
    OneIdle,
    AllLent,
}

/// One acquire that is dropped somewhere. Says whether it came to its end before that.
async fn one_case(start: Start, case: &CutCase) -> bool {
    let world = World::hooked(1, 1, |builder| builder.pre_ping_idle(Duration::ZERO));
    match start {
        Start::Empty => {}
        Start::OneIdle => world.idle(1).await,
        Start::AllLent => {
            let mut loans = world.leases(2).await;
            loans[0].set_dirty(true);
            tokio::spawn(async move {
                sleep(ms(2)).await;
                drop(loans);
            });
        }
    }
    world.manager.always(case.call, case.act.clone());
    let ended = case.cut.of(world.pool.acquire()).await;
    let came_to_its_end = ended.is_some();
    drop(ended);
    quiet().await;
    world.manager.heal();
    // Long enough for whatever hangs to run into its limit.
    sleep(secs(60)).await;

    let status = world.pool.status();
    assert_books_closed(&status);
    let under_way = (status.in_use, status.resetting, status.closing, status.connecting);
    assert_eq!(under_way, (0, 0, 0, 0), "{start:?}, {case:?}: {status:?}");
    assert_eq!(world.manager.sockets(), status.open as usize, "{start:?}, {case:?}");
    world.assert_sound().await;
    assert!(world.manager.peak() <= 2, "{start:?}, {case:?}: {} sockets", world.manager.peak());
    came_to_its_end
}

async fn sweep(start: Start) {
    cancel_sweep(async |case| one_case(start, &case).await).await;
}

#[tokio::test(start_paused = true)]
async fn an_acquire_on_an_empty_pool_can_be_dropped_anywhere() {
    sweep(Start::Empty).await;
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_finds_an_idle_connection_can_be_dropped_anywhere() {
    sweep(Start::OneIdle).await;
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_waits_for_a_return_can_be_dropped_anywhere() {
    sweep(Start::AllLent).await;
}

#[tokio::test(start_paused = true)]
async fn closing_and_prewarming_can_be_dropped_anywhere() {
    for polls in 0..6 {
        let world = World::hooked(2, 1, |builder| builder);
        world.manager.always(Call::Connect, Act::slow(ms(3)));
        world.manager.always(Call::Close, Act::slow(ms(3)));
        let warm = poll_n(world.pool.prewarm(2), polls).await.is_some();
        sleep(secs(1)).await;
        world.assert_sound().await;
        let closed = poll_n(world.pool.close(), polls).await.is_some();
        sleep(secs(1)).await;
        assert!(
            polls == 0 || (world.pool.is_closed() && world.manager.sockets() == 0),
            "after {polls} polls"
        );
        assert!(polls < 5 || (warm && closed), "both end in a few polls");
    }
}

#[tokio::test(start_paused = true)]
async fn a_prewarming_that_was_dropped_opens_nothing_more() {
    for others in [0, 2] {
        let world = World::with(5, 0, |builder| builder.max_connecting(1));
        world.manager.always(Call::Connect, Act::slow(secs(1)));
        let mut other = ByHand::new(world.pool.prewarm(others));
        let mut warm = ByHand::new(world.pool.prewarm(4));
        assert!(others == 0 || other.poll().is_pending());
        assert!(warm.poll().is_pending());
        quiet().await;
        drop(warm);
        sleep(secs(60)).await;
        // What was being opened already comes.
        assert_eq!(world.manager.calls(Call::Connect), others.max(1) as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_cancelled_acquires_leave_nothing_behind() {
    let world = World::new(2, 0);
    let loans = world.leases(2).await;
    let mut dice = fastrand::Rng::with_seed(3);
    for _ in 0..100 {
        let crowd: Vec<_> = (0..100).map(|_| tokio::spawn(world.pool.acquire())).collect();
        quiet().await;
        assert_eq!(world.pool.status().waiting, 100);
        let mut crowd = crowd;
        dice.shuffle(&mut crowd);
        for task in &crowd {
            task.abort();
        }
        quiet().await;
        assert_eq!((world.pool.status().waiting, world.pool.status().oldest_waiter), (0, None));
    }
    drop(loans);
    assert_eq!(world.pool.status().totals.cancelled, 10_000);
    assert_eq!(world.manager.calls(Call::Connect), 2);
    world.assert_sound().await;
}
