//! The server is away for long: newcomers fail fast, one probe looks for its return, and then there
//! is no storm.

use crate::support::{World, assert_took, ms, quiet, refused, secs, settle, timed};
use millpond_core::{AcquireFailure, CloseReason, Handle, Lease, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate, until};
use std::error::Error;
use std::time::Duration;
use tokio::time::sleep;

/// A pool whose server has been away for six seconds, with `fail_fast_after` of two.
async fn outage() -> World {
    let world = World::with(3, 2, |builder| builder.pool_timeout(secs(5)).fail_fast_after(secs(2)));
    world
        .manager
        .always(Call::Connect, Act::slow(ms(5)).then(Act::transient("connection refused")));
    let (result, took) = timed(world.pool.acquire()).await;
    assert!(refused(result).kind() != AcquireFailure::Closed);
    assert!(took <= secs(5) + ms(2), "{took:?}");
    sleep(secs(1)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn after_fail_fast_after_newcomers_get_the_cause_at_once() {
    let world = outage().await;
    let (result, took) = timed(world.pool.acquire()).await;
    assert_took(took, Duration::ZERO);
    let error = refused(result);
    let PoolError::Connect { attempts, .. } = &error else { panic!("{error:?}") };
    assert!(*attempts > 1);
    assert_eq!(error.source().unwrap().to_string(), "connection refused");
    assert_eq!(world.trace.count("failing fast"), 1);
}

#[tokio::test(start_paused = true)]
async fn before_fail_fast_after_newcomers_wait() {
    let world =
        World::with(3, 2, |builder| builder.pool_timeout(secs(1)).fail_fast_after(secs(60)));
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    for _ in 0..5 {
        let (result, took) = timed(world.pool.acquire()).await;
        assert_took(took, secs(1));
        assert!(refused(result).is_timeout());
    }
}

#[tokio::test(start_paused = true)]
async fn while_newcomers_fail_one_probe_at_a_time_looks_for_the_server() {
    let world = outage().await;
    let before = world.manager.calls(Call::Connect);
    for _ in 0..100 {
        assert!(world.pool.acquire().await.is_err());
        assert!(world.pool.status().connecting <= 1);
        assert!(world.manager.running(Call::Connect) <= 1);
        sleep(ms(100)).await;
    }
    let probes = world.manager.calls(Call::Connect) - before;
    assert!((20..=300).contains(&probes), "{probes} probes in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn when_the_server_is_back_the_probe_finds_it_without_anybody_asking() {
    let world = outage().await;
    world.manager.heal();
    sleep(secs(1)).await;
    assert_eq!((world.trace.count("recovered"), world.manager.alive()), (1, 1));
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_took(took, Duration::ZERO);
    drop(lease.unwrap());
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_long_ago_fails_nobody_today() {
    for failure in
        [Act::transient("connection refused"), Act::permanent("no such database"), Act::Panic]
    {
        let world = World::new(3, 2);
        world.manager.next(Call::Connect, [failure]);
        // Nobody is left to try again for.
        let _ = world.pool.acquire_within(ms(1)).await;
        sleep(secs(300)).await;
        let (result, took) = timed(world.pool.acquire()).await;
        assert!(result.is_ok(), "one failure five minutes ago is not an outage: {result:?}");
        assert!(took <= ms(2), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_nobody_watched_ends_for_the_first_later_caller() {
    let world = outage().await;
    sleep(secs(600)).await;
    world.manager.heal();
    sleep(secs(1)).await;
    assert!(world.pool.acquire().await.is_ok());
}

/// A pool with `min_idle` whose server has been away for ten minutes, and nobody has asked for
/// anything.
async fn outage_that_nobody_notices() -> World {
    let world = World::with(3, 2, |builder| builder.min_idle(2).runtime(Handle::current()));
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    sleep(secs(600)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn while_nobody_asks_min_idle_tries_every_few_seconds_and_not_ten_times_a_second() {
    let world = outage_that_nobody_notices().await;
    let tried = world.manager.calls(Call::Connect);
    assert!((120..=500).contains(&tried), "{tried} attempts in ten minutes");
    world.manager.heal();
    sleep(secs(6)).await;
    assert_eq!(world.pool.status().idle, 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_who_asks_after_an_outage_that_nobody_noticed_is_served_in_a_moment() {
    let world = outage_that_nobody_notices().await;
    world.manager.heal();
    let (lease, took) = timed(world.pool.acquire()).await;
    drop(lease.unwrap());
    assert!(took <= ms(300), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_shortens_the_long_pause_of_an_outage_that_nobody_noticed() {
    let world = World::with(3, 2, |builder| {
        builder
            .min_idle(3)
            .runtime(Handle::current())
            .fail_fast_after(secs(3_600))
            .pool_timeout(secs(60))
    });
    settle().await;
    let lease = world.lease().await;
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    for lease in world.leases(2).await {
        Lease::discard(lease, CloseReason::Broken);
    }
    sleep(secs(600)).await;
    let before = world.manager.calls(Call::Connect);
    assert!(world.pool.acquire_within(secs(10)).await.is_err());
    let tried = world.manager.calls(Call::Connect) - before;
    assert!((50..=500).contains(&tried), "{tried} attempts in ten seconds");
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn callers_who_are_refused_keep_the_probe_quick() {
    let world = outage_that_nobody_notices().await;
    for _ in 0..60 {
        assert!(world.pool.acquire().await.is_err());
        sleep(secs(1)).await;
    }
    world.manager.heal();
    sleep(ms(250)).await;
    let (lease, took) = timed(world.pool.acquire()).await;
    drop(lease.unwrap());
    assert_took(took, Duration::ZERO);
}

/// Two requests hold a dead connection each and wait for a second one; both give up within the
/// pause after the last failed connect. The server is back from then on.
async fn two_requests_give_up_in_the_pause(world: &World, tick: impl AsyncFn()) {
    const FAILURES: u64 = 8;
    let dead = world.leases(2).await;
    let gate = Gate::new();
    world
        .manager
        .always(Call::Connect, Act::gated(&gate).then(Act::transient("connection refused")));
    let waiters = [0; 2].map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move { pool.acquire().await.map(drop) })
    });
    let failed = || world.pool.status().totals.connect_failed;
    for failures in 1..FAILURES {
        gate.let_one_through();
        while failed() < failures {
            tick().await;
        }
    }
    while gate.waiting() == 0 {
        tick().await;
    }
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
    quiet().await;
    assert_eq!(world.pool.status().waiting, 0, "both have given up");
    gate.let_one_through();
    quiet().await;
    assert_eq!(failed(), FAILURES);
    for lease in dead {
        Lease::discard(lease, CloseReason::Broken);
    }
    quiet().await;
    assert_eq!(world.pool.status().open, 0);
    world.manager.heal();
}

fn world_with_long_pauses() -> World {
    World::with(2, 1, |builder| builder.backoff_max(secs(60)).fail_fast_after(ms(1)))
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_last_waiters_gave_up_in_an_outage_is_back_when_the_server_is() {
    let world = world_with_long_pauses();
    two_requests_give_up_in_the_pause(&world, async || sleep(ms(1)).await).await;
    sleep(secs(10)).await;
    assert_eq!(
        world.trace.count("recovered"),
        1,
        "somebody looks for the server without being asked"
    );
    assert!(world.pool.acquire().await.is_ok());
    world.assert_sound().await;
}

#[tokio::test]
async fn a_pool_whose_last_waiters_gave_up_in_an_outage_is_back_in_real_time_too() {
    let world = world_with_long_pauses();
    two_requests_give_up_in_the_pause(&world, async || tokio::task::yield_now().await).await;
    let served = until("a newcomer is served", async || world.pool.acquire().await.is_ok());
    tokio::time::timeout(secs(10), served).await.expect("it is back far too late");
    world.assert_sound().await;
}

/// A connect fails whose caller has gone: nobody is left to try again for.
async fn a_connect_fails_for_nobody(world: &World) {
    let gate = Gate::new();
    world
        .manager
        .always(Call::Connect, Act::gated(&gate).then(Act::transient("connection refused")));
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    quiet().await;
    drop(caller);
    gate.open();
    quiet().await;
    assert_eq!(world.pool.status().totals.connect_failed, 1);
    world.manager.heal();
}

#[tokio::test(start_paused = true)]
async fn min_idle_is_filled_after_a_resize_in_the_pause_after_a_failure() {
    let world = World::with(3, 0, |builder| builder.min_idle(3));
    world.pool.resize(1, 1).unwrap();
    let lease = world.lease().await;
    a_connect_fails_for_nobody(&world).await;
    world.pool.resize(3, 0).unwrap();
    sleep(secs(5)).await;
    assert_eq!(world.pool.status().idle, 2);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn prewarm_in_the_pause_after_a_failure_does_not_wait_for_its_deadline() {
    let world = World::new(3, 0);
    a_connect_fails_for_nobody(&world).await;
    let (result, took) = timed(world.pool.prewarm(2)).await;
    result.unwrap();
    assert!(
        took <= ms(20),
        "the pause after a first failure is 10 ms at most, and it took {took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn prewarm_counts_a_connection_that_is_being_reset_once() {
    let world = World::with(3, 0, |builder| builder.pool_timeout(secs(5)));
    let mut lease = world.lease().await;
    let gate = Gate::new();
    world.manager.always(Call::Reset, Act::gated(&gate));
    lease.set_dirty(true);
    drop(lease);
    let (result, took) = timed(world.pool.prewarm(2)).await;
    result.unwrap();
    assert!(took <= ms(2), "{took:?}");
    gate.open();
}

#[tokio::test(start_paused = true)]
async fn a_healthy_connection_in_use_means_that_newcomers_go_on_waiting() {
    let world = World::with(2, 0, |builder| builder.pool_timeout(secs(5)).fail_fast_after(secs(2)));
    let lease = world.lease().await;
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    assert!(world.pool.acquire().await.is_err());
    let pool = world.pool.clone();
    let newcomer = tokio::spawn(async move { timed(pool.acquire()).await });
    sleep(secs(1)).await;
    drop(lease);
    let (lease, took) = newcomer.await.unwrap();
    assert_took(took, secs(1));
    drop(lease.unwrap());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_waiters_and_a_server_that_is_back_after_five_seconds() {
    let world = World::new(10, 20);
    let refusal = Act::slow(ms(1)).then(Act::transient("connection refused"));
    world.manager.always(Call::Connect, refusal);
    let waiters: Vec<_> = (0..10_000)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move {
                let lease = pool.acquire().await?;
                sleep(ms(1)).await;
                drop(lease);
                Ok::<_, PoolError>(())
            })
        })
        .collect();
    sleep(secs(5)).await;
    let failed = world.manager.calls(Call::Connect);
    assert!(failed <= 400, "{failed} attempts in five seconds of outage");
    world.manager.always(Call::Connect, Act::slow(ms(2)));
    let (answers, took) = timed(async {
        let mut answers = Vec::new();
        for waiter in waiters {
            answers.push(waiter.await.unwrap());
        }
        answers
    })
    .await;
    assert!(answers.iter().all(Result::is_ok), "everybody is served");
    assert!(took < secs(5), "{took:?}");
    let opened = world.manager.calls(Call::Connect) - failed;
    assert!(opened <= 30 + 4, "{opened} connects for a cap of 30");
    assert!(world.pool.status().totals.created <= 30 && world.manager.peak() <= 30);
    settle().await;
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_and_goes_leaves_a_sound_pool() {
    let world = World::with(4, 2, |builder| builder.pool_timeout(secs(1)).fail_fast_after(secs(1)));
    let mut dice = fastrand::Rng::with_seed(7);
    for _ in 0..40 {
        world.manager.always(Call::Connect, Act::transient("connection refused"));
        world.manager.always(Call::Ping, Act::broken("closed"));
        let users: Vec<_> = (0..dice.usize(1..12))
            .map(|_| {
                let pool = world.pool.clone();
                tokio::spawn(async move { drop(pool.acquire().await) })
            })
            .collect();
        sleep(ms(dice.u64(0..4_000))).await;
        world.manager.heal();
        for user in users {
            user.await.unwrap();
        }
        sleep(ms(dice.u64(0..600))).await;
    }
    sleep(secs(1)).await;
    world.assert_sound().await;
}
