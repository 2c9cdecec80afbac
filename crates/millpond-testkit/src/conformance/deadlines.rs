//! Every call ends at its time limit, whatever hangs.

use crate::act::{Act, Call};
use crate::conformance::stage::{SOON, Stage, Trial, join, ms, refused, secs, timed};
use crate::poll::ByHand;
use millpond_core::{Phase, Pool, PoolError, PoolExt};
use std::task::Poll;
use std::time::Duration;

/// A wait ends at its deadline, neither earlier nor later.
pub async fn c40_a_wait_ends_at_its_deadline<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(1, 0, |builder, _| builder.pool_timeout(SOON));
    let _lease = world.pool.acquire_within(secs(20)).await.unwrap_or_else(|e| panic!("{e}"));
    for limit in [None, Some(SOON * 2)] {
        let (result, took) = match limit {
            None => timed(world.pool.acquire()).await,
            Some(limit) => timed(world.pool.acquire_within(limit)).await,
        };
        let PoolError::TimedOut(reported) = refused(result) else { panic!("not a timeout") };
        assert_eq!((reported.phase, reported.limit), (Phase::Wait, limit.unwrap_or(SOON)));
        world.assert_took(took, limit.unwrap_or(SOON));
    }
}

/// A server that does not answer delays no caller beyond its deadline.
pub async fn c41_a_connect_that_hangs_ends_the_wait_at_its_deadline<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    world.manager.always(Call::Connect, Act::Never);
    let (result, took) = timed(world.pool.acquire_within(SOON)).await;
    let PoolError::TimedOut(reported) = refused(result) else { panic!("not a timeout") };
    assert_eq!(reported.phase, Phase::Connect);
    world.assert_took(took, SOON);
    let _ = world.pool.close_within(secs(5)).await;
    world.until("nothing is open", || world.manager.sockets() == 0).await;
}

/// A connect that hangs is abandoned at `connect_timeout` and tried again.
pub async fn c41_a_connect_that_hangs_is_tried_again<T: Trial>(stage: Stage<T>) {
    let limit = secs(3);
    let world = stage.tuned(1, 0, |builder, _| builder.connect_timeout(limit));
    world.manager.next(Call::Connect, [Act::Never]);
    let (lease, took) = timed(world.pool.acquire()).await;
    drop(lease.unwrap_or_else(|error| panic!("{error}")));
    assert!(took >= limit);
    assert_eq!(world.trace.count("connect failed #1"), 1);
    world.assert_sound().await;
}

/// While slots are free, a connect that hangs does not delay a caller until `connect_timeout`.
pub async fn c41_a_connect_that_hangs_delays_no_caller_while_slots_are_free<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.tuned(2, 0, |builder, _| builder.connect_timeout(secs(30)));
    world.manager.next(Call::Connect, [Act::Never]);
    let lease = world.pool.acquire_within(secs(20)).await;
    drop(lease.unwrap_or_else(|error| panic!("the caller got no lease: {error}")));
    assert_eq!(world.manager.calls(Call::Connect), 2);
    let _ = world.pool.close_within(secs(5)).await;
    world.until("nothing is open", || world.manager.sockets() == 0).await;
}

/// A ping that hangs costs `ping_timeout`; then another connection is lent.
pub async fn c42_a_ping_that_hangs_costs_its_own_limit_and_no_more<T: Trial>(stage: Stage<T>) {
    let world =
        stage.tuned(2, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO).ping_timeout(SOON));
    world.idle(1).await;
    world.manager.next(Call::Ping, [Act::Never]);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_eq!(lease.unwrap_or_else(|error| panic!("{error}")).id(), 2);
    world.assert_took(took, SOON);
    world.assert_sound().await;
}

/// Five dead connections cost one `ping_timeout`, not five.
pub async fn c43_five_dead_connections_cost_the_caller_one_ping_timeout<T: Trial>(stage: Stage<T>) {
    let limit = secs(3);
    let world =
        stage.tuned(5, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO).ping_timeout(limit));
    world.idle(5).await;
    world.manager.always(Call::Ping, Act::Never);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_eq!(lease.unwrap_or_else(|error| panic!("{error}")).id(), 6);
    assert!(took < 2 * limit + secs(5), "{took:?} for five pings of at most {limit:?}");
    world.manager.heal();
    world.until("the dead ones are closed", || world.trace.count("closed ping_failed") == 5).await;
    world.assert_sound().await;
}

/// A reset that hangs is abandoned, and its connection is closed.
pub async fn c44_a_reset_that_hangs_costs_its_connection_and_delays_no_caller<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.tuned(1, 0, |builder, _| builder.ping_timeout(SOON));
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    world.manager.next(Call::Reset, [Act::Never]);
    drop(lease);
    let lease = world.lease().await;
    assert_eq!((lease.id(), lease.is_dirty()), (2, false));
    assert_eq!(world.trace.count("closed reset_failed #1"), 1);
    drop(lease);
    world.assert_sound().await;
}

/// A close that hangs is abandoned at `close_timeout`, and its slot is free again.
pub async fn c45_a_close_that_hangs_ends_at_close_timeout<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(2, 0, |builder, _| builder.close_timeout(SOON));
    drop(world.leases(2).await);
    world.manager.always(Call::Close, Act::Never);
    let (report, took) = timed(world.pool.close_within(secs(20))).await;
    assert!(report.is_clean(), "{report}");
    assert!(took <= secs(15), "{took:?}");
    assert_eq!(world.manager.sockets(), 0);
}

/// A time limit of zero takes an idle connection or fails at once.
pub async fn c46_a_limit_of_zero_takes_what_is_there_or_fails_at_once<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let (result, took) = timed(world.pool.acquire_within(Duration::ZERO)).await;
    assert!(refused(result).is_timeout(), "nothing is there yet");
    world.assert_took(took, Duration::ZERO);
    world.until_calm().await;
    if T::reuses() {
        drop(world.lease().await);
        world.until_calm().await;
        drop(
            world
                .pool
                .acquire_within(Duration::ZERO)
                .await
                .unwrap_or_else(|error| panic!("{error}")),
        );
    }
    world.assert_sound().await;
}

/// Outside a runtime an acquire returns an error and does not panic.
pub async fn c47_without_a_runtime_an_acquire_is_an_error<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let pool = world.pool.clone();
    let thread = std::thread::spawn(move || match ByHand::new(pool.acquire()).poll() {
        Poll::Ready(Err(PoolError::NoRuntime)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    world.until("the thread has ended", || thread.is_finished()).await;
    assert!(matches!(thread.join(), Ok(Ok(()))), "an error was expected, and no panic");
    world.assert_sound().await;
}

/// Callers with timeouts too short for a connect do not make the pool open and close connections
/// without end.
pub async fn c48_short_timeouts_do_not_churn_connections<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    world.manager.always(Call::Connect, Act::slow(ms(100)));
    for _ in 0..10 {
        let crowd: Vec<_> = (0..20)
            .map(|_| {
                let pool = world.pool.clone();
                tokio::spawn(async move { drop(pool.acquire_within(ms(5)).await) })
            })
            .collect();
        for caller in crowd {
            join(caller).await;
        }
    }
    world.until_calm().await;
    assert!(
        world.manager.calls(Call::Connect) <= 2,
        "{} connects",
        world.manager.calls(Call::Connect)
    );
    world.assert_sound().await;
}

/// Callers with timeouts too short for a ping do not make the pool close healthy connections.
pub async fn c49_short_timeouts_close_no_healthy_connection<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(3, 0, |builder, _| builder.pre_ping_idle(Duration::ZERO));
    world.idle(3).await;
    world.manager.always(Call::Ping, Act::slow(ms(100)));
    for _ in 0..5 {
        for _ in 0..3 {
            assert!(refused(world.pool.acquire_within(ms(2)).await).is_timeout());
        }
        let mut gone = ByHand::new(world.pool.acquire());
        assert!(gone.poll().is_pending());
        drop(gone);
        world.until_calm().await;
    }
    assert_eq!((world.manager.calls(Call::Connect), world.pool.status().idle), (3, 3));
    world.assert_sound().await;
}
