//! Age limits, idle limits and `min_idle`, under a paused clock.

use crate::act::{Act, Call};
use crate::conformance::stage::{Stage, Trial, ms, secs, timed};
use millpond_core::{CloseReason, Lease, Pool, PoolExt};
use std::time::Duration;
use tokio::time::sleep;

/// `idle_timeout` closes unused connections, down to `min_idle`.
pub async fn c60_idle_timeout_closes_down_to_min_idle<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(5, 0, |builder, _| builder.idle_timeout(secs(60)).min_idle(2));
    world.idle(5).await;
    sleep(secs(50)).await;
    assert_eq!(world.manager.alive(), 5);
    sleep(secs(70)).await;
    assert_eq!(world.manager.alive(), 2);
    assert_eq!(world.trace.count("closed idle_too_long"), 3);
}

/// Under light load only the connection in use stays open.
pub async fn c61_under_light_load_only_the_connection_in_use_stays<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(5, 0, |builder, _| builder.idle_timeout(secs(60)).min_idle(0));
    world.idle(5).await;
    for _ in 0..30 {
        drop(world.lease().await);
        sleep(secs(10)).await;
    }
    assert_eq!(world.manager.alive(), 1);
    assert_eq!(world.manager.calls(Call::Connect), 5);
}

/// A connection older than `pool_recycle` is not lent, whether it expired while idle or in use.
pub async fn c62_nothing_older_than_pool_recycle_is_lent<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(2, 0, |builder, _| builder.pool_recycle(secs(300)).recycle_jitter(0));
    world.idle(1).await;
    sleep(secs(310)).await;
    let lease = world.lease().await;
    assert_ne!(lease.id(), 1, "it was idle when it became too old");
    let id = lease.id();
    sleep(secs(310)).await;
    drop(lease);
    assert_ne!(world.lease().await.id(), id, "it was in use when it became too old");
    world.until("both are closed", || world.trace.count("closed recycled") >= 2).await;
}

/// Jitter keeps connections that were opened together from closing together.
pub async fn c63_connections_opened_together_do_not_close_together<T: Trial>(stage: Stage<T>) {
    let world =
        stage.tuned(40, 0, |builder, _| builder.pool_recycle(secs(3600)).recycle_jitter(50));
    world.idle(40).await;
    sleep(secs(3700)).await;
    let mut times = world.trace.times("closed recycled");
    times.truncate(40);
    let (first, last) = (times.iter().min().copied(), times.iter().max().copied());
    assert_eq!(times.len(), 40);
    assert!(
        last.unwrap_or_default().saturating_sub(first.unwrap_or_default()) > secs(600),
        "{times:?}"
    );
}

/// `min_idle` connections are opened without a caller, and replaced after some were lost.
pub async fn c64_min_idle_connections_are_ready_and_filled_up_again<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(5, 0, |builder, _| builder.min_idle(3).idle_timeout(secs(60)));
    drop(world.lease().await);
    world.until_status("three are ready", |status| status.idle >= 3).await;
    for lease in world.leases(3).await {
        Lease::discard(lease, CloseReason::Interrupted);
    }
    world.until_status("three are ready again", |status| status.idle >= 3).await;
    sleep(secs(300)).await;
    assert!(world.pool.status().idle >= 3);
}

/// A replacement is opened before the expired connection is closed, so no caller waits.
pub async fn c65_replacing_an_expired_connection_delays_no_caller<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(2, 0, |builder, _| builder.pool_recycle(secs(300)).recycle_jitter(0));
    world.idle(1).await;
    world.manager.always(Call::Connect, Act::slow(secs(2)));
    for _ in 0..700 {
        let (lease, took) = timed(world.pool.acquire()).await;
        drop(lease.unwrap_or_else(|error| panic!("{error}")));
        world.assert_took(took, Duration::ZERO);
        sleep(secs(1)).await;
    }
    assert!(world.manager.calls(Call::Connect) >= 3);
}

/// A validation by the pool does not count as use.
pub async fn c66_validation_does_not_make_a_connection_look_used<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(3, 0, |builder, _| builder.idle_timeout(secs(60)).min_idle(0));
    world.idle(3).await;
    sleep(secs(40)).await;
    // The ping is due for all; after the first dead one the maintenance task pings the others.
    world.manager.next(Call::Ping, [Act::broken("scripted")]);
    let lease = world.lease().await;
    sleep(secs(30)).await;
    assert_eq!(world.manager.alive(), 1, "{:?}", world.trace.lines());
    drop(lease);
}

/// `Duration::MAX` is accepted by every setting.
pub async fn c67_a_duration_of_max_is_harmless_in_every_setting<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(2, 1, |builder, _| {
        let ever = Duration::MAX;
        let builder =
            builder.pool_timeout(ever).pool_recycle(ever).pre_ping_idle(ever).ping_timeout(ever);
        let builder =
            builder.connect_timeout(ever).hook_timeout(ever).close_timeout(ever).idle_timeout(ever);
        builder.overflow_linger(ever).leak_after(ever).fail_fast_after(ever)
    });
    for _ in 0..3 {
        drop(world.lease().await);
    }
    world.assert_sound().await;
    assert!(world.pool.close_within(secs(20)).await.is_clean());
}

/// `prewarm` ends while the server comes and goes, and leaves the pool in working order.
pub async fn c68_prewarm_with_a_server_that_comes_and_goes_ends<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(5, 0, |builder, _| builder.pool_timeout(secs(30)));
    let flaps = (0..20).map(|n| if n % 2 == 0 { Act::transient("scripted") } else { Act::Ok });
    world.manager.next(Call::Connect, flaps);
    let (result, took) = timed(world.queue().prewarm(5)).await;
    assert!(result.is_ok() && took <= secs(30) + ms(2), "{result:?} after {took:?}");
    assert!(!T::reuses() || world.manager.alive() == 5);
    world.assert_sound().await;
}
