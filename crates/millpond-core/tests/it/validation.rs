//! Looking at a connection before it is lent belongs to the pool: the caller may go, what comes of
//! it is kept.

use crate::support::{World, ms, quiet, refused, secs, settle};
use millpond_core::{CloseReason, HookPoint, Lease, Phase, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate};
use std::time::Duration;
use tokio::time::sleep;

/// Ten idle connections for which a ping is due, each of which takes 5 ms.
async fn ten_to_be_pinged() -> World {
    let world = World::new(10, 0);
    world.idle(10).await;
    world.manager.always(Call::Ping, Act::slow(ms(5)));
    sleep(secs(1)).await;
    world
}

async fn assert_all_ten_are_there(world: &World) {
    settle().await;
    let status = world.pool.status();
    assert_eq!(
        (status.idle, status.totals.created, status.totals.closed),
        (10, 10, 0),
        "{status:?}"
    );
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn callers_with_less_time_than_a_ping_takes_empty_no_healthy_pool() {
    let world = ten_to_be_pinged().await;
    let callers = [0; 10].map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move { pool.acquire_within(ms(2)).await })
    });
    for caller in callers {
        let error = refused(caller.await.unwrap());
        let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
        assert_eq!(timed_out.phase, Phase::Ping);
    }
    assert_all_ten_are_there(&world).await;
}

#[tokio::test(start_paused = true)]
async fn callers_who_go_away_during_a_ping_empty_no_healthy_pool() {
    let world = ten_to_be_pinged().await;
    for _ in 0..10 {
        let mut caller = ByHand::new(world.pool.acquire());
        assert!(caller.poll().is_pending());
        assert_eq!(world.pool.status().in_use, 1);
        drop(caller);
        assert_eq!(world.pool.status().in_use, 0, "the maintenance task has it");
    }
    assert_eq!(world.manager.calls(Call::Ping), 10);
    assert_all_ten_are_there(&world).await;
    assert_eq!(world.pool.status().totals.cancelled, 10);
}

#[tokio::test(start_paused = true)]
async fn what_a_ping_that_nobody_waits_for_finds_out_serves_the_next_caller() {
    let world = World::new(1, 0);
    world.idle(1).await;
    sleep(secs(1)).await;
    let gate = Gate::new();
    world.manager.always(Call::Ping, Act::gated(&gate));
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    drop(caller);
    let mut next = ByHand::new(world.pool.acquire());
    assert!(next.poll().is_pending(), "it is not lent before the ping has ended");
    quiet().await;
    gate.open();
    quiet().await;
    assert!(next.poll().is_ready());
    assert_eq!((world.manager.calls(Call::Ping), world.manager.calls(Call::Connect)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_ping_fails_or_hangs_is_closed_though_its_caller_has_gone() {
    for ping in
        [Act::slow(ms(5)).then(Act::broken("gone")), Act::Never, Act::slow(ms(5)).then(Act::Panic)]
    {
        let world = World::new(1, 0);
        world.idle(1).await;
        sleep(secs(1)).await;
        world.manager.next(Call::Ping, [ping]);
        assert!(world.pool.acquire_within(ms(1)).await.is_err());
        sleep(secs(3)).await;
        assert_eq!((world.manager.alive(), world.trace.count("closed ping_failed")), (0, 1));
        world.assert_sound().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkout_hook_ends_and_its_connection_stays_though_the_caller_has_gone() {
    let world = World::hooked(1, 0, |builder| builder);
    world.idle(1).await;
    let hook = Call::Hook(HookPoint::Checkout);
    world.manager.always(hook, Act::slow(ms(5)));
    assert!(world.pool.acquire_within(ms(2)).await.is_err());
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    sleep(ms(4)).await;
    assert!(caller.poll().is_pending());
    drop(caller);
    sleep(ms(10)).await;
    assert_eq!(
        (world.manager.running(hook), world.manager.alive(), world.pool.status().idle),
        (0, 1, 1)
    );
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_not_begun_for_a_caller_who_has_gone() {
    let world = World::hooked(1, 0, |builder| builder);
    world.idle(1).await;
    let before = world.manager.calls(Call::Hook(HookPoint::Checkout));
    sleep(secs(1)).await;
    world.manager.always(Call::Ping, Act::slow(ms(5)));
    assert!(world.pool.acquire_within(ms(2)).await.is_err());
    settle().await;
    assert_eq!(
        (world.manager.calls(Call::Hook(HookPoint::Checkout)), world.pool.status().idle),
        (before, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_closed_meanwhile_ends_with_the_ping() {
    let world = World::new(1, 0);
    world.idle(1).await;
    sleep(secs(1)).await;
    world.manager.always(Call::Ping, Act::Never);
    let mut caller = ByHand::new(world.pool.acquire_within(secs(20)));
    assert!(caller.poll().is_pending());
    drop(caller);
    let report = world.pool.close_within(secs(3)).await;
    assert!(report.is_clean(), "{report:?}");
    assert!(report.took <= Duration::from_millis(2_002), "{:?}", report.took);
}

#[tokio::test(start_paused = true)]
async fn after_the_first_broken_connection_the_others_are_pinged_before_they_are_lent() {
    // The server has ended all five: some are idle, some are out and come back unused, one has been
    // found out.
    let world = World::new(5, 0);
    world.manager.always(Call::Ping, Act::broken("server restarted"));
    let mut loans = world.leases(5).await;
    drop(loans.split_off(3));
    quiet().await;
    Lease::discard(loans.remove(0), CloseReason::Broken);
    drop(loans);
    settle().await;
    assert_eq!((world.manager.calls(Call::Ping), world.manager.alive()), (4, 0));
    let fresh = world.leases(5).await;
    assert!(fresh.iter().all(|lease| lease.id() > 5), "none of the old ones is lent");
    drop(fresh);
    settle().await;
    assert_eq!(world.manager.calls(Call::Ping), 4, "and the new ones need no ping");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_not_handed_what_was_out_when_another_connection_was_found_broken() {
    let world = World::unwatched(2, 0, |builder| builder);
    let mut loans = world.leases(2).await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    world.manager.always(Call::Connect, Act::Never);
    Lease::discard(loans.remove(0), CloseReason::Broken);
    drop(loans);
    assert!(waiter.poll().is_pending());
    quiet().await;
    assert!(waiter.poll().is_ready(), "its ping has succeeded");
    assert_eq!(world.manager.calls(Call::Ping), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_fails_has_the_others_pinged_too() {
    let world = World::new(3, 0);
    let mut loans = world.leases(3).await;
    let mut dirty = loans.remove(0);
    drop(loans);
    dirty.set_dirty(true);
    world.manager.always(Call::Reset, Act::broken("server restarted"));
    drop(dirty);
    settle().await;
    assert_eq!((world.manager.calls(Call::Ping), world.pool.status().idle), (2, 2));
}
