//! Every future of a pool dropped at every poll, whatever else goes wrong: nothing is lost.

use crate::cancel_sweep::{CutCase, cancel_sweep};
use crate::conformance::stage::{Stage, Trial, World, assert_balance, quiet, secs};
use millpond_core::{Pool, PoolExt};
use std::time::Duration;
use tokio::time::sleep;

/// On an empty pool.
pub async fn c28_an_acquire_on_an_empty_pool_can_be_dropped_anywhere<T: Trial>(stage: Stage<T>) {
    cancel_sweep(async |case| {
        let world = world(&stage);
        acquire(&world, &case).await
    })
    .await;
}

/// On a pool that has one to lend, which must be pinged first.
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

/// On a pool that has lent everything, some of which comes back dirty.
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

/// A close that nobody waits for goes on.
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

/// Prewarming that nobody waits for leaves a sound pool.
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
        // A second: what waits for the whole of it is polled not too often.
        builder.hooks(manager.hooks()).pre_ping_idle(Duration::ZERO).pool_timeout(secs(1))
    })
}

/// One acquire that is dropped. Says whether it came to its end before that.
async fn acquire<T: Trial>(world: &World<T>, case: &CutCase) -> bool {
    world.manager.always(case.call, case.act.clone());
    let ended = case.cut.of(world.pool.acquire()).await;
    let came_to_its_end = ended.is_some();
    drop(ended);
    after(world, case).await;
    came_to_its_end
}

/// Nothing is under way, nothing is lost, and all can be acquired again.
async fn after<T: Trial>(world: &World<T>, case: &CutCase) {
    quiet().await;
    world.manager.heal();
    // Long enough for whatever hangs to run into its limit.
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
