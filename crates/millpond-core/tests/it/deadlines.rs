//! `acquire` ends by its deadline and not before, whatever a server, a manager or a hook does.

use crate::support::{
    Pool, World, assert_books_closed, assert_took, ms, quiet, ready, refused, secs, settle, timed,
};
use millpond_core::{CloseReason, HookPoint, Lease, Phase, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate, ScriptedManager, until};
use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;
use tokio::time::sleep;

/// What can go wrong in a call, and keeps going wrong until the script is healed.
fn evils() -> Vec<(&'static str, Act)> {
    vec![
        ("fails", Act::transient("scripted")),
        ("fails permanently", Act::permanent("scripted")),
        ("fails with a failover", Act::failover("scripted")),
        ("panics", Act::Panic),
        ("hangs", Act::Never),
        ("is slow and fails", Act::slow(ms(700)).then(Act::transient("scripted"))),
        ("is slow and panics", Act::slow(ms(700)).then(Act::Panic)),
        ("is too slow", Act::slow(secs(3600))),
    ]
}

/// The calls that a caller may have to wait for.
const IN_THE_WAY: [Call; 5] = [
    Call::Connect,
    Call::Ping,
    Call::Hook(HookPoint::FirstConnect),
    Call::Hook(HookPoint::Connect),
    Call::Hook(HookPoint::Checkout),
];

/// The calls that happen between two borrowers.
const BEHIND_THE_SCENES: [Call; 5] = [
    Call::Triage,
    Call::Reset,
    Call::Close,
    Call::Hook(HookPoint::Checkin),
    Call::Hook(HookPoint::Close),
];

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_in_the_way_acquire_ends_in_time_and_the_pool_heals() {
    for call in IN_THE_WAY {
        for (evil, act) in evils() {
            for started in [false, true] {
                let case = format!("{call} {evil}, pool started: {started}");
                let world =
                    World::hooked(2, 1, |b| b.pool_timeout(secs(30)).pre_ping_idle(Duration::ZERO));
                if started {
                    world.idle(2).await;
                }
                world.manager.always(call, act.clone());
                let (result, took) = timed(world.pool.acquire()).await;
                assert!(took <= secs(30) + ms(2), "{case}: took {took:?}");
                if let Err(PoolError::TimedOut(_)) = &result {
                    assert!(took >= secs(30), "{case}: timed out after {took:?}");
                }
                drop(result);
                world.manager.heal();
                sleep(secs(60)).await;
                assert_books_closed(&world.pool.status());
                world.assert_sound().await;
                assert!(world.manager.peak() <= 3, "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_behind_the_scenes_acquire_ends_in_time_and_the_pool_heals() {
    for call in BEHIND_THE_SCENES {
        for (evil, act) in evils() {
            let case = format!("{call} {evil}");
            let world = World::hooked(2, 1, |b| b);
            let mut loans = world.leases(3).await;
            world.manager.always(call, act);
            loans[0].set_dirty(true);
            let first = loans.remove(0);
            Lease::discard(loans.remove(0), CloseReason::Discarded);
            drop((first, loans));
            for _ in 0..3 {
                let (result, took) = timed(world.pool.acquire()).await;
                assert!(result.is_ok(), "{case}: {result:?}");
                assert!(took <= secs(5) + ms(5), "{case}: took {took:?}");
            }
            world.manager.heal();
            sleep(secs(60)).await;
            assert_books_closed(&world.pool.status());
            world.assert_sound().await;
            assert!(world.manager.peak() <= 3, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_exactly() {
    let world = World::new(1, 0);
    let _lease = world.lease().await;
    let (result, took) = timed(world.pool.acquire()).await;
    assert!(refused(result).is_timeout());
    assert_took(took, secs(30));
    for limit in [ms(1), ms(10), ms(999), secs(1), secs(29), secs(31), secs(86_400)] {
        let (result, took) = timed(world.pool.acquire_within(limit)).await;
        let PoolError::TimedOut(timed_out) = refused(result) else { panic!("not a timeout") };
        assert_eq!((timed_out.phase, timed_out.limit), (Phase::Wait, limit));
        assert_took(took, limit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_hangs_ends_the_wait_at_its_deadline_exactly() {
    for connect_timeout in [ms(100), secs(10), secs(300)] {
        let world = World::with(1, 0, |builder| {
            builder.connect_timeout(connect_timeout).fail_fast_after(secs(3600))
        });
        world.manager.always(Call::Connect, Act::Never);
        let (result, took) = timed(world.pool.acquire()).await;
        let PoolError::TimedOut(timed_out) = refused(result) else { panic!("not a timeout") };
        assert_eq!(timed_out.phase, Phase::Connect);
        assert_took(took, secs(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_hangs_costs_its_own_limit_and_no_more() {
    let world =
        World::with(2, 0, |builder| builder.pre_ping_idle(Duration::ZERO).ping_timeout(ms(1500)));
    world.idle(1).await;
    world.manager.next(Call::Ping, [Act::Never]);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_eq!(lease.unwrap().id(), 2);
    assert_took(took, ms(1500));
    assert_eq!(
        (world.trace.count("ping failed #1"), world.trace.count("closed ping_failed #1")),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_ping_may_not_outlast_the_caller() {
    let world =
        World::with(2, 0, |builder| builder.pre_ping_idle(Duration::ZERO).ping_timeout(secs(300)));
    world.idle(1).await;
    world.manager.always(Call::Ping, Act::Never);
    let (result, took) = timed(world.pool.acquire_within(secs(1))).await;
    let error = refused(result);
    let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
    assert_eq!(timed_out.phase, Phase::Ping);
    assert!(
        error.to_string().starts_with("no connection passed its ping in time, timeout 1.00"),
        "{error}"
    );
    assert_took(took, secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_checkout_hook_may_not_outlast_the_caller() {
    let world = World::hooked(2, 0, |builder| builder.hook_timeout(secs(300)));
    world.idle(1).await;
    world.manager.always(Call::Hook(HookPoint::Checkout), Act::Never);
    let (result, took) = timed(world.pool.acquire_within(secs(1))).await;
    let error = refused(result);
    let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
    assert_eq!(timed_out.phase, Phase::Hook);
    assert!(
        error.to_string().starts_with("an on_checkout hook did not finish, timeout 1.00"),
        "{error}"
    );
    assert_took(took, secs(1));
}

#[tokio::test(start_paused = true)]
async fn ten_dead_connections_cost_the_caller_one_ping_timeout_and_not_ten() {
    let world = World::new(10, 0);
    world.idle(10).await;
    sleep(secs(10)).await;
    world.manager.always(Call::Ping, Act::Never);
    let (lease, took) = timed(world.pool.acquire()).await;
    assert!(took <= secs(2) + ms(100), "one ping, and a moment of hope for the others: {took:?}");
    assert_eq!(lease.unwrap().id(), 11, "a new one: none of the old was found alive");
    sleep(secs(10)).await;
    assert_eq!(world.trace.count("closed ping_failed"), 10);
    world.manager.heal();
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_first_dead_connection_the_others_are_validated_and_the_living_kept() {
    let world = World::new(6, 0);
    world.idle(6).await;
    sleep(secs(10)).await;
    world.manager.next(Call::Ping, [Act::broken("closed by the server")]);
    drop(world.lease().await);
    settle().await;
    let status = world.pool.status();
    assert_eq!(world.trace.count("closed ping_failed"), 1);
    assert!(status.idle >= 5, "{status:?}");
    let pinged = world.manager.calls(Call::Ping);
    assert!(pinged >= 6, "the maintenance task has looked at the rest: {pinged} pings");
    drop(world.leases(5).await);
    assert_eq!(world.manager.calls(Call::Ping), pinged, "and a caller need not look again");
}

#[tokio::test(start_paused = true)]
async fn dead_connections_and_a_server_that_does_not_answer_make_nobody_spin() {
    let world = World::with(5, 0, |builder| builder.pre_ping_idle(Duration::ZERO));
    world.idle(5).await;
    world.manager.always(Call::Ping, Act::broken("closed by the server"));
    world.manager.always(Call::Connect, Act::Never);
    let (result, took) = timed(world.pool.acquire()).await;
    assert!(refused(result).is_timeout());
    assert_took(took, secs(30));
    assert!(world.manager.calls(Call::Ping) <= 5 && world.manager.calls(Call::Connect) <= 5 + 16);
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_sent_only_when_it_is_due() {
    let world = World::new(1, 0);
    let pings = || world.manager.calls(Call::Ping);
    drop(world.lease().await);
    assert_eq!(pings(), 0, "not to a connection just opened");
    for _ in 0..100 {
        drop(world.lease().await);
        sleep(ms(400)).await;
    }
    assert_eq!(pings(), 0, "not to one that was used 400 ms ago");
    sleep(ms(200)).await;
    drop(world.lease().await);
    assert_eq!(pings(), 1);
    drop(world.lease().await);
    assert_eq!(pings(), 1);
}

#[tokio::test(start_paused = true)]
async fn pre_ping_idle_of_zero_pings_at_every_checkout_but_the_first() {
    let world = World::with(1, 0, |builder| builder.pre_ping_idle(Duration::ZERO));
    for _ in 0..10 {
        drop(world.lease().await);
    }
    assert_eq!(world.manager.calls(Call::Ping), 9);
}

#[tokio::test(start_paused = true)]
async fn with_pool_pre_ping_off_nothing_is_pinged() {
    let world = World::with(1, 0, |builder| builder.pool_pre_ping(false));
    for _ in 0..10 {
        drop(world.lease().await);
        sleep(secs(100)).await;
    }
    assert_eq!(world.manager.calls(Call::Ping), 0);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_takes_what_is_there_or_fails_at_once() {
    let world = World::new(1, 0);
    let (result, took) = timed(world.pool.acquire_within(Duration::ZERO)).await;
    assert!(refused(result).is_timeout(), "nothing is there yet");
    assert_took(took, Duration::ZERO);
    settle().await;
    drop(world.lease().await);
    let (lease, took) = timed(world.pool.acquire_within(Duration::ZERO)).await;
    let lease = lease.unwrap();
    assert_took(took, Duration::ZERO);
    assert!(refused(world.pool.acquire_within(Duration::ZERO).await).is_timeout());
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_one_call_may_be_longer_than_pool_timeout() {
    let world = World::with(1, 0, |builder| builder.pool_timeout(secs(1)));
    let lease = world.lease().await;
    let pool = world.pool.clone();
    let patient = tokio::spawn(async move { timed(pool.acquire_within(secs(120))).await });
    sleep(secs(100)).await;
    drop(lease);
    let (lease, took) = patient.await.unwrap();
    assert!(lease.is_ok());
    assert_took(took, secs(100));
}

#[tokio::test(start_paused = true)]
async fn the_deadline_counts_from_the_call_and_covers_all_phases() {
    let world = World::hooked(2, 0, |b| {
        b.pre_ping_idle(Duration::ZERO).ping_timeout(secs(3)).hook_timeout(secs(60))
    });
    world.idle(1).await;
    world.manager.next(Call::Ping, [Act::Never]);
    world.manager.always(Call::Connect, Act::slow(secs(3)));
    world.manager.always(Call::Hook(HookPoint::Checkout), Act::Never);
    let (result, took) = timed(world.pool.acquire_within(secs(10))).await;
    assert!(refused(result).is_timeout());
    assert_took(took, secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_reset_delays_nobody_who_can_be_served_otherwise() {
    let world = World::new(2, 0);
    let gate = Gate::new();
    world.manager.always(Call::Reset, Act::gated(&gate));
    let mut loans = world.leases(2).await;
    loans[0].set_dirty(true);
    drop(loans.remove(0));
    quiet().await;
    assert_eq!((gate.waiting(), world.pool.status().resetting), (1, 1));
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending(), "what is being reset is not lent");
    drop(loans);
    let lease = ready(waiter.poll()).unwrap();
    assert_eq!(lease.id(), 2);
    gate.open();
    settle().await;
    assert_eq!((world.pool.status().idle, world.pool.status().resetting), (1, 0));
    let clean = world.lease().await;
    assert!(!clean.is_dirty());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_hanging_reset_while_there_is_room() {
    let world = World::new(2, 0);
    world.manager.always(Call::Reset, Act::Never);
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    drop(lease);
    quiet().await;
    let (lease, took) = timed(world.pool.acquire()).await;
    assert_eq!(lease.unwrap().id(), 2);
    assert!(took <= ms(100), "a moment of hope for the reset, and no more: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_the_connection_when_its_reset_is_done_and_not_before() {
    let world = World::new(1, 0);
    world.manager.always(Call::Reset, Act::slow(ms(800)));
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    drop(lease);
    let (lease, took) = timed(world.pool.acquire()).await;
    let lease = lease.unwrap();
    assert_took(took, ms(800));
    assert!(lease.id() == 1 && !lease.is_dirty());
}

/// Where many wait, the deadline is read off a coarse clock. In real time: a paused clock is never
/// coarse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_crowd_that_waits_in_real_time_no_caller_times_out_before_its_limit() {
    let limit = ms(751);
    let (mut crowd, mut held) = (Vec::new(), Vec::new());
    for round in 0..200 {
        let pool =
            Pool::builder(ScriptedManager::new()).pool_size(1).max_overflow(0).build().unwrap();
        held.push((pool.clone(), pool.acquire().await.unwrap()));
        // Pools are built, and waiters come, at every moment of the coarse clock's tick.
        let before = std::time::Instant::now();
        while before.elapsed() < Duration::from_micros(round % 8 * 500) {
            tokio::task::yield_now().await;
        }
        for _ in 0..2 {
            let since = std::time::Instant::now();
            let mut acquire = Box::pin(pool.acquire_within(limit));
            assert!(poll_fn(|cx| Poll::Ready(acquire.as_mut().poll(cx).is_pending())).await);
            crowd.push(tokio::spawn(async move { (refused(acquire.await), since.elapsed()) }));
        }
    }
    for waiter in crowd {
        let (error, waited) = waiter.await.unwrap();
        assert!(error.is_timeout(), "{error}");
        assert!(waited >= limit, "failed {:?} before its limit", limit - waited);
    }
}

/// In real time: for the others there is a watch, which comes round every quarter of a second.
#[tokio::test]
async fn one_who_waits_for_a_short_time_is_not_woken_before_it_is_over() {
    let world = World::new(1, 0);
    let _lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire_within(ms(700)));
    assert!(waiter.poll().is_pending());
    until("it is woken", async || waiter.wakes() > 0).await;
    assert!(refused(ready(waiter.poll())).is_timeout());
}
