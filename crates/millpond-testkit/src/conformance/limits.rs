//! The limit: never more connections than slots, at any size.

use crate::act::{Act, Call};
use crate::conformance::stage::{Stage, Trial, join, refused};
use crate::gate::Gate;
use millpond_core::{CloseReason, Lease, Pool, PoolError, PoolExt};
use std::time::Duration;

/// The manager counts, not the pool, so connects and closes under way are included.
pub async fn c20_nothing_beyond_the_limit_is_open_at_any_instant<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 2);
    let users = (0..40_u32).map(|user| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            for round in 0..4 {
                let Ok(lease) = pool.acquire().await else { panic!("not served") };
                tokio::task::yield_now().await;
                match (user + round) % 3 {
                    0 => Lease::discard(lease, CloseReason::Interrupted),
                    _ => drop(lease),
                }
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        join(user).await;
    }
    assert!(world.manager.peak() <= 4, "{} sockets, and a cap of 4", world.manager.peak());
    world.assert_sound().await;
}

/// Surplus idle connections are closed; nothing beyond the new limit is lent.
pub async fn c21_after_shrinking_nothing_beyond_the_new_limit_is_lent<T: Trial>(stage: Stage<T>) {
    let world = stage.world(6, 0);
    drop(world.leases(6).await);
    resize(&world, 2, 0);
    let loans = world.leases(2).await;
    world.until("two are left", || world.manager.sockets() == 2).await;
    assert!(refused(world.pool.acquire_within(Duration::ZERO).await).is_timeout());
    drop(loans);
    world.until_calm().await;
    assert_eq!(world.pool.status().limit(), 2);
}

/// A shrink takes no lease away; nothing new is lent until enough connections are returned.
pub async fn c22_shrinking_below_what_is_lent_waits_for_its_return<T: Trial>(stage: Stage<T>) {
    let world = stage.world(4, 0);
    let mut loans = world.leases(4).await;
    resize(&world, 1, 0);
    let waiter = world.waiter().await;
    for _ in 0..3 {
        drop(loans.pop());
        world.until_status("it is closed", |status| status.open as usize == loans.len()).await;
        assert!(!waiter.is_finished(), "lent while {} are out", loans.len());
    }
    drop(loans.pop());
    drop(join(waiter).await);
}

/// Slots added by a resize serve waiters at once, in order.
pub async fn c23_growing_serves_waiters_at_once<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let held = world.lease().await;
    let waiters = [world.waiter().await, world.waiter().await];
    resize(&world, 2, 1);
    for waiter in waiters {
        drop(join(waiter).await.unwrap_or_else(|error| panic!("{error}")));
    }
    drop(held);
    world.until_calm().await;
}

/// While the size changes under load, open and connecting connections never exceed the largest
/// limit, and in the end not the last one.
pub async fn c24_however_the_size_changes_under_load_the_limit_holds<T: Trial>(stage: Stage<T>) {
    let world = stage.world(3, 0);
    let users = (0..12).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                let Ok(_lease) = pool.acquire().await else { panic!("not served") };
                tokio::task::yield_now().await;
            }
        })
    });
    let users: Vec<_> = users.collect();
    let mut dice = fastrand::Rng::with_seed(24);
    while users.iter().any(|user| !user.is_finished()) {
        resize(&world, dice.u32(1..=5), dice.u32(0..=3));
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    for user in users {
        join(user).await;
    }
    assert!(world.manager.peak() <= 8, "{} sockets", world.manager.peak());
    resize(&world, 2, 0);
    world.until_status("the size holds", |status| status.open <= 2).await;
    let loans = world.leases(2).await;
    assert!(refused(world.pool.acquire_within(Duration::ZERO).await).is_timeout());
    drop(loans);
}

/// A burst opens no more connections than callers wait for.
pub async fn c25_a_burst_opens_no_more_than_callers_wait_for<T: Trial>(stage: Stage<T>) {
    let gate = Gate::new();
    let world = stage.tuned(10, 0, |builder, _| builder.max_connecting(10));
    world.manager.always(Call::Connect, Act::gated(&gate));
    let mut callers = Vec::new();
    for _ in 0..3 {
        callers.push(world.waiter().await);
    }
    world.until("all are being opened", || gate.waiting() == 3).await;
    gate.open();
    for caller in callers {
        drop(join(caller).await);
    }
    assert_eq!(world.manager.calls(Call::Connect), 3);
}

/// A connection beyond `pool_size` is closed when it is returned and no caller waits.
pub async fn c26_a_connection_beyond_pool_size_is_closed_when_no_caller_waits<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 2);
    let mut loans = world.leases(3).await;
    let waiter = world.waiter().await;
    drop(loans.pop());
    drop(join(waiter).await.unwrap_or_else(|error| panic!("{error}")));
    drop(loans);
    world.until("one is kept", || world.manager.sockets() == 1).await;
    assert_eq!(world.trace.count("closed overflow"), 2);
}

/// A caller beyond `max_waiters` is refused at once.
pub async fn c27_one_caller_more_than_max_waiters_is_turned_away_at_once<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.tuned(1, 0, |builder, _| builder.max_waiters(1));
    let lease = world.lease().await;
    let waiter = world.waiter().await;
    let error = refused(world.pool.acquire().await);
    assert!(matches!(error, PoolError::TooManyWaiters { limit: 1 }), "{error:?}");
    drop(lease);
    drop(join(waiter).await);
}

fn resize<T: Trial>(
    world: &crate::conformance::stage::World<T>,
    pool_size: u32,
    max_overflow: u32,
) {
    if let Err(error) = world.queue().resize(pool_size, max_overflow) {
        panic!("the suite's own sizes are wrong: {error}");
    }
}
