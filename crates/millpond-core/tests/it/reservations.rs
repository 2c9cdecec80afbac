//! Places for connections past the pool: under the cap, never waited for, free again when dropped.

use crate::support::{World, ms, quiet, ready, settle};
use millpond_core::QueuePool;
use millpond_testkit::{ByHand, Call};

#[tokio::test(start_paused = true)]
async fn a_reserved_place_counts_under_the_cap() {
    let world = World::new(1, 1);
    let lease = world.lease().await;
    let place = world.pool.try_reserve().unwrap();
    assert_eq!((world.pool.status().reserved, world.pool.status().open), (1, 1));
    assert!(world.pool.try_reserve().is_none(), "the pool is full");
    world.pool.acquire_within(ms(20)).await.unwrap_err();
    assert_eq!(world.manager.peak(), 1, "nothing was opened beyond the cap");
    drop(place);
    let second = world.lease().await;
    assert!(world.pool.try_reserve().is_none());
    assert_eq!(world.pool.status().totals.peak, 2);
    drop((lease, second));
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_reserved_place_is_served_when_it_is_free() {
    let world = World::new(1, 0);
    let place = world.pool.try_reserve().unwrap();
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    quiet().await;
    assert_eq!(world.manager.calls(Call::Connect), 0);
    drop(place);
    settle().await;
    drop(ready(waiter.poll()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_reserved_in_a_pool_that_lends_nothing() {
    let world = World::new(2, 0);
    world.pool.suspend();
    assert!(world.pool.try_reserve().is_none());
    world.pool.resume();
    let place = world.pool.try_reserve().unwrap();
    let report = world.pool.close_within(ms(10)).await;
    assert_eq!(report.pending, 1, "close waits for what was opened in the place");
    assert!(world.pool.try_reserve().is_none());
    drop(place);
    assert!(world.pool.close().await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_weak_handle_reaches_the_pool_and_does_not_keep_it() {
    let world = World::new(1, 0);
    world.idle(1).await;
    let weak = world.pool.downgrade();
    assert!(weak.upgrade().is_some_and(|pool| pool.try_acquire().is_some()));
    let World { pool, trace, manager } = world;
    drop::<QueuePool<_>>(pool);
    settle().await;
    assert!(weak.upgrade().is_none());
    assert_eq!((trace.count("closing"), manager.alive()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_manager_can_warn_of_what_does_not_fit() {
    let world = World::new(1, 0);
    world.pool.warn("pool_size", "the server allows fewer".to_owned());
    assert_eq!(world.trace.lines(), ["warned pool_size"]);
}
