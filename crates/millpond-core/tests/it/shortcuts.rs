//! Pools without pings, hooks and observers, in which loans, waits and returns go the shortest way: what is lent there is as
//! good as elsewhere.

use crate::support::{World, assert_books_closed, ms, quiet, ready, secs, settle};
use millpond_core::Invalidate;
use millpond_testkit::{ByHand, Call};
use std::task::Poll;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn what_was_out_when_all_was_invalidated_is_closed_when_it_comes_back() {
    let world = World::unwatched(2, 0, |builder| builder);
    world.idle(1).await;
    let lease = world.lease().await;
    world.pool.invalidate_all(Invalidate::Soft);
    settle().await;
    drop(lease);
    settle().await;
    assert_eq!((world.manager.alive(), world.pool.status().idle), (0, 0));
    assert_eq!(world.lease().await.generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_out_when_the_pool_was_closed_is_closed_when_it_comes_back() {
    let world = World::unwatched(2, 0, |builder| builder);
    world.idle(1).await;
    let lease = world.lease().await;
    let mut close = ByHand::new(world.pool.close());
    assert!(close.poll().is_pending());
    drop(lease);
    settle().await;
    assert_eq!(world.manager.sockets(), 0);
    assert!(ready(close.poll()).is_clean());
}

/// In real time: with a paused clock all look after their own deadlines, and nobody joins the queue the shortest way.
#[tokio::test]
async fn where_many_wait_a_newcomer_is_served_after_them_all() {
    let world = World::unwatched(1, 0, |builder| builder);
    let mut lease = Some(world.lease().await);
    let mut waiters: Vec<_> = (0..5).map(|_| ByHand::new(world.pool.acquire())).collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    for served in 0..5 {
        drop(lease.take());
        assert!(waiters[served + 1..].iter_mut().all(|waiter| waiter.poll().is_pending()), "{served} was passed");
        lease = Some(ready(waiters[served].poll()).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_and_then_invalidated_is_not_lent() {
    let world = World::unwatched(1, 0, |builder| builder);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    world.pool.invalidate_all(Invalidate::Soft);
    assert!(waiter.poll().is_pending());
    settle().await;
    assert_eq!(ready(waiter.poll()).unwrap().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_is_not_lent_while_the_pool_is_suspended() {
    let world = World::unwatched(1, 0, |builder| builder);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    world.pool.suspend();
    assert!(waiter.poll().is_pending());
    world.pool.resume();
    assert!(ready(waiter.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_waiter_did_not_fetch_for_long_is_pinged_before_it_is_lent() {
    let world = World::unwatched(1, 0, |builder| builder.pool_pre_ping(true).pre_ping_idle(ms(500)));
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    sleep(secs(1)).await;
    let lease = match waiter.poll() {
        Poll::Ready(lease) => lease,
        Poll::Pending => {
            quiet().await;
            ready(waiter.poll())
        }
    };
    assert!(lease.is_ok());
    assert_eq!(world.manager.calls(Call::Ping), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_waiter_did_not_fetch_before_its_age_was_up_is_replaced() {
    let world = World::unwatched(1, 0, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    let lease = world.lease().await;
    let (id, mut waiter) = (lease.id(), ByHand::new(world.pool.acquire_within(secs(1_000))));
    assert!(waiter.poll().is_pending());
    drop(lease);
    sleep(secs(301)).await;
    assert!(waiter.poll().is_pending());
    settle().await;
    assert!(ready(waiter.poll()).unwrap().id() != id);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_after_the_grant_was_cancelled_and_not_served() {
    let world = World::unwatched(1, 0, |builder| builder);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    drop(waiter);
    let status = world.pool.status();
    assert_books_closed(&status);
    assert_eq!((status.totals.ok, status.totals.cancelled, status.idle), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_dirty_is_reset_before_it_is_lent() {
    let world = World::unwatched(1, 0, |builder| builder);
    world.idle(1).await;
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    drop(lease);
    assert!(!world.lease().await.is_dirty());
    assert_eq!(world.manager.calls(Call::Reset), 1);
}
