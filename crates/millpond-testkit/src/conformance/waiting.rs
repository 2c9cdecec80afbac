//! The queue: waiters are served in order, and no wake-up is lost.

use crate::act::{Act, Call};
use crate::conformance::stage::{Stage, Trial, join, quiet, refused};
use crate::poll::ByHand;
use millpond_core::{CloseReason, Lease, PoolExt};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// Waiters are served in order of arrival.
pub async fn c30_waiters_are_served_in_order_of_arrival<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for n in 0..8 {
        let (pool, served) = (world.pool.clone(), Arc::clone(&served));
        waiters.push(tokio::spawn(async move {
            let lease = pool.acquire().await;
            served.lock().unwrap_or_else(PoisonError::into_inner).push(n);
            tokio::task::yield_now().await;
            drop(lease);
        }));
        world.until_status("it waits", |status| status.waiting == n + 1).await;
    }
    drop(lease);
    for waiter in waiters {
        join(waiter).await;
    }
    assert_eq!(*served.lock().unwrap_or_else(PoisonError::into_inner), [0, 1, 2, 3, 4, 5, 6, 7]);
}

/// A new caller never overtakes a waiter, even one that has been woken but has not run yet.
pub async fn c31_a_new_caller_does_not_overtake_a_woken_waiter<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    let mut newcomer = ByHand::new(world.pool.acquire());
    assert!(newcomer.poll().is_pending());
    assert!(world.pool.try_acquire().is_none());
    assert!(refused(world.pool.acquire_within(Duration::ZERO).await).is_timeout());
    world.until("the waiter is woken", || waiter.wakes() > 0).await;
    assert!(newcomer.poll().is_pending());
    let Poll::Ready(Ok(lease)) = waiter.poll() else { panic!("woken without a connection") };
    drop(lease);
    world.until("the newcomer's turn", || newcomer.poll().is_ready()).await;
}

/// A waiter that was dropped is skipped.
pub async fn c32_a_cancelled_waiter_is_passed_over<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    let first = world.waiter().await;
    let second = world.waiter().await;
    first.abort();
    world.until_status("one is left", |status| status.waiting == 1).await;
    drop(lease);
    drop(join(second).await.unwrap_or_else(|error| panic!("{error}")));
    world.assert_sound().await;
}

/// A caller dropped after a connection was handed to it passes that connection on.
pub async fn c33_a_caller_dropped_after_the_hand_over_passes_it_on<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    let mut first = ByHand::new(world.pool.acquire());
    assert!(first.poll().is_pending());
    let second = world.waiter().await;
    drop(lease);
    world.until("the first is woken", || first.wakes() > 0).await;
    drop(first);
    drop(join(second).await.unwrap_or_else(|error| panic!("the wake-up was lost: {error}")));
    world.assert_sound().await;
}

/// Two thousand waiters are all served.
pub async fn c34_two_thousand_waiters_are_all_served<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    let hold = world.leases(2).await;
    let waiters: Vec<_> = (0..2_000)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move { pool.acquire().await.is_ok() })
        })
        .collect();
    world.until_status("all wait", |status| status.waiting == 2_000).await;
    drop(hold);
    for waiter in waiters {
        assert!(join(waiter).await, "a waiter was not served");
    }
    world.assert_sound().await;
}

/// While calls are dropped and retried, no caller waits while a connection is idle.
pub async fn c35_no_caller_waits_while_a_connection_is_idle<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let users = (0..20).map(|user| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            for round in 0..10 {
                let acquire = pool.acquire();
                if (user + round) % 4 == 0 {
                    drop(crate::poll::poll_n(acquire, round % 3).await);
                } else {
                    drop(acquire.await.unwrap_or_else(|error| panic!("{error}")));
                }
                if round % 2 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        join(user).await;
    }
    world.assert_sound().await;
}

/// A connection that comes back broken, or is detached, frees its slot for the next waiter.
pub async fn c36_a_connection_that_is_lost_frees_its_slot_for_a_waiter<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let ends: [fn(_); 2] = [
        |lease| Lease::discard(lease, CloseReason::Interrupted),
        |lease| drop(Lease::detach(lease)),
    ];
    for end in ends {
        let lease = world.lease().await;
        let waiter = world.waiter().await;
        end(lease);
        drop(join(waiter).await.unwrap_or_else(|error| panic!("{error}")));
    }
    world.assert_sound().await;
}

/// After a failed connect the waiters are still served.
pub async fn c37_a_failed_connect_does_not_strand_the_next_waiter<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    world.manager.next(Call::Connect, [Act::transient("scripted"), Act::transient("scripted")]);
    let waiters = [world.acquiring(), world.acquiring(), world.acquiring()];
    quiet().await;
    for waiter in waiters {
        drop(join(waiter).await.unwrap_or_else(|error| panic!("{error}")));
    }
    world.assert_sound().await;
}

/// Dropping a caller does not cancel its connect; the connection serves the next caller.
pub async fn c38_the_connect_of_a_cancelled_caller_lands_in_the_pool<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let gate = crate::gate::Gate::new();
    world.manager.always(Call::Connect, Act::gated(&gate));
    let first = world.waiter().await;
    world.until("it is being opened", || gate.waiting() == 1).await;
    first.abort();
    let second = world.acquiring();
    quiet().await;
    gate.open();
    drop(join(second).await.unwrap_or_else(|error| panic!("{error}")));
    assert!(world.manager.peak() <= 1);
    world.assert_sound().await;
}
