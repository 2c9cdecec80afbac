//! Every future of a pool is dropped at every poll, under every failure; no slot is lost.

use crate::cancel_sweep::{CutCase, cancel_sweep};
use crate::conformance::stage::{Stage, Trial, World, assert_balance, quiet, secs};
use millpond_core::{Pool, PoolExt};
use std::time::Duration;
use tokio::time::sleep;

/// Drops an acquire on an empty pool.
pub async fn c28_an_acquire_on_an_empty_pool_can_be_dropped_anywhere<T: Trial>(stage: Stage<T>) {
    cancel_sweep(async |case| {
        let world = world(&stage);
        acquire(&world, &case).await
    })
    .await;
}

/// Drops an acquire that finds an idle connection and has to ping it.
pub async fn c28_an_acquire_that_finds_an_idle_connection_can_be_dropped_anywhere<T: Trial>(
    stage: Stage<T>,
) {
    cancel_sweep(async |case| {
        let world = world(&stage);
        drop(world.lease().await);
        world.until_calm().await;
        acquire(&world, &case).await
    })
    .await;
}

/// Drops an acquire while all connections are lent; one of them is returned dirty.
pub async fn c28_an_acquire_that_waits_for_a_return_can_be_dropped_anywhere<T: Trial>(
    stage: Stage<T>,
) {
    cancel_sweep(async |case| {
        let world = world(&stage);
        let mut loans = world.leases(2).await;
        loans[0].set_dirty(true);
        tokio::spawn(async move {
            sleep(Duration::from_millis(2)).await;
            drop(loans);
        });
        acquire(&world, &case).await
    })
    .await;
}

/// A close whose future is dropped goes on.
pub async fn c28_a_close_can_be_dropped_anywhere<T: Trial>(stage: Stage<T>) {
    cancel_sweep(async |case| {
        let world = world(&stage);
        drop(world.leases(2).await);
        world.manager.always(case.call, case.act.clone());
        let ended = case.cut.of(world.pool.close()).await.is_some();
        // Longer than any limit that a close has.
        sleep(secs(60)).await;
        let status = world.pool.status();
        assert!(!status.closed || world.manager.sockets() == 0, "{case:?}: {status:?}");
        world.manager.heal();
        let _ = world.pool.close().await;
        assert_eq!(world.manager.sockets(), 0, "{case:?}");
        ended
    })
    .await;
}

/// Dropping a prewarm leaves the pool in working order.
pub async fn c28_a_prewarm_can_be_dropped_anywhere<T: Trial>(stage: Stage<T>) {
    cancel_sweep(async |case| {
        let world = world(&stage);
        world.manager.always(case.call, case.act.clone());
        let ended = case.cut.of(world.queue().prewarm(1)).await.is_some();
        after(&world, &case).await;
        ended
    })
    .await;
}

fn world<T: Trial>(stage: &Stage<T>) -> World<T> {
    stage.tuned(1, 1, |builder, manager| {
        // One second: a caller that waits for all of it is polled only a few times.
        builder.hooks(manager.hooks()).pre_ping_idle(Duration::ZERO).pool_timeout(secs(1))
    })
}

/// Drops one acquire; returns true if it completed before that.
async fn acquire<T: Trial>(world: &World<T>, case: &CutCase) -> bool {
    world.manager.always(case.call, case.act.clone());
    let ended = case.cut.of(world.pool.acquire()).await;
    let came_to_its_end = ended.is_some();
    drop(ended);
    after(world, case).await;
    came_to_its_end
}

/// Asserts that nothing is under way, that nothing is lost, and that all slots can be acquired.
async fn after<T: Trial>(world: &World<T>, case: &CutCase) {
    quiet().await;
    world.manager.heal();
    // Longer than every time limit of the pool.
    sleep(secs(60)).await;
    let status = world.pool.status();
    assert_balance(&status);
    assert_eq!(
        (status.resetting, status.closing, status.connecting),
        (0, 0, 0),
        "{case:?}: {status:?}"
    );
    assert_eq!(world.manager.sockets(), status.open as usize, "{case:?}");
    world.assert_sound().await;
    let _ = world.pool.close().await;
    world.until("nothing is open", || world.manager.sockets() == 0).await;
}
