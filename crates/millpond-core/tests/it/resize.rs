//! The sizes change at run time, and the cap holds on the way.

use crate::support::{Pool, World, assert_books, ms, quiet, ready, settle};
use millpond_core::Limits;
use millpond_testkit::{Act, ByHand, Call};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn growing_serves_waiters_at_once() {
    let world = World::new(1, 0);
    let _lease = world.lease().await;
    let mut waiters = [ByHand::new(world.pool.acquire()), ByHand::new(world.pool.acquire())];
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    world.pool.resize(2, 1).unwrap();
    quiet().await;
    for waiter in &mut waiters {
        drop(ready(waiter.poll()).unwrap());
    }
    assert_eq!(world.trace.count("resized 2 1"), 1);
}

#[tokio::test(start_paused = true)]
async fn shrinking_closes_idle_connections_that_are_too_many_now() {
    let world = World::new(10, 0);
    world.idle(10).await;
    world.pool.resize(2, 0).unwrap();
    settle().await;
    let status = world.pool.status();
    assert_eq!((status.pool_size, status.max_overflow, status.limit()), (2, 0, 2));
    assert_eq!((status.idle, world.manager.alive()), (2, 2));
    assert_eq!(world.trace.count("closed shrunk"), 8);
    world.pool.resize(10, 0).unwrap();
    let loans = world.leases(10).await;
    assert_eq!(world.manager.alive(), 10);
    drop(loans);
}

#[tokio::test(start_paused = true)]
async fn after_shrinking_below_what_is_lent_nothing_is_lent_until_enough_has_come_back() {
    let world = World::new(4, 0);
    let mut loans = world.leases(4).await;
    world.pool.resize(2, 0).unwrap();
    let mut waiter = ByHand::new(world.pool.acquire());
    for left in [3, 2] {
        drop(loans.pop());
        settle().await;
        assert_eq!(world.manager.alive(), left);
        assert!(waiter.poll().is_pending(), "{left} are still out, and the cap is 2");
    }
    drop(loans.pop());
    quiet().await;
    drop(ready(waiter.poll()).unwrap());
    assert_eq!(world.manager.calls(Call::Connect), 4);
}

#[tokio::test(start_paused = true)]
async fn sizes_out_of_range_are_refused_and_change_nothing() {
    let world = World::new(3, 1);
    let text = world.pool.resize(0, 500).unwrap_err().to_string();
    assert!(text.contains("pool_size = 0 is out of range 1-50"), "{text}");
    assert!(text.contains("max_overflow = 500 is out of range 0-100"), "{text}");
    assert_eq!(world.pool.status().limit(), 4);

    let world = World::with(3, 1, |builder| builder.limits(Limits::Off));
    world.pool.resize(200, 500).unwrap();
    assert_eq!(world.pool.status().limit(), 700);
    assert!(world.pool.resize(0, 0).is_err(), "a pool without a place lends nothing");
}

/// Ten connections, one, ten again, at random, while sixteen users come and go.
#[tokio::test(start_paused = true)]
async fn however_the_size_changes_under_load_the_cap_holds() {
    for seed in 0..10 {
        let world = World::new(10, 0);
        world.manager.always(Call::Connect, Act::slow(ms(2)));
        world.manager.always(Call::Close, Act::slow(ms(3)));
        let users: Vec<_> = (0..16)
            .map(|user| tokio::spawn(come_and_go(world.pool.clone(), seed * 100 + user)))
            .collect();
        let mut dice = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let before = world.manager.sockets();
            if dice.u32(0..20) == 0 {
                let size = if dice.bool() { 1 } else { 10 };
                world.pool.resize(size, 0).unwrap();
            }
            sleep(ms(1)).await;
            let status = world.pool.status();
            assert_books(&status);
            let sockets = world.manager.sockets();
            let cap = status.limit() as usize;
            assert!(
                sockets <= cap.max(before),
                "seed {seed}: {before} sockets became {sockets}, the cap is {cap}"
            );
        }
        assert!(world.manager.peak() <= 10, "seed {seed}: {}", world.manager.peak());
        for user in users {
            user.abort();
        }
        world.pool.resize(10, 0).unwrap();
        settle().await;
        world.assert_sound().await;
    }
}

async fn come_and_go(pool: Pool, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    loop {
        let lease = pool.acquire_within(ms(dice.u64(1..50))).await;
        sleep(ms(dice.u64(0..5))).await;
        drop(lease);
        sleep(ms(dice.u64(0..5))).await;
    }
}
