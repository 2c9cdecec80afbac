//! What one does to a running pool: suspend, invalidate, prewarm, detach, discard, try.

use crate::support::{World, assert_took, ms, quiet, ready, refused, secs, settle, timed};
use millpond_core::{CloseReason, Invalidate, Lease, Phase, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate};
use std::time::Duration;
use tokio::time::{advance, sleep};

#[tokio::test(start_paused = true)]
async fn a_suspended_pool_lends_nothing_until_it_is_resumed() {
    let world = World::new(2, 0);
    world.idle(1).await;
    world.pool.suspend();
    assert!(world.pool.status().suspended);
    assert!(world.pool.try_acquire().is_none());
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    sleep(secs(10)).await;
    assert!(waiter.poll().is_pending());
    world.pool.resume();
    quiet().await;
    drop(ready(waiter.poll()).unwrap());
    assert_eq!((world.trace.count("suspended"), world.trace.count("resumed")), (1, 1));
    assert!(!world.pool.status().suspended);
}

#[tokio::test(start_paused = true)]
async fn resume_serves_all_waiters_in_order() {
    let world = World::new(2, 0);
    world.pool.suspend();
    let mut waiters: Vec<_> = (0..3).map(|_| ByHand::new(world.pool.acquire())).collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    quiet().await;
    assert_eq!(
        world.manager.calls(Call::Connect),
        0,
        "nothing is opened for callers who may not have it"
    );
    world.pool.resume();
    quiet().await;
    let first = ready(waiters[0].poll()).unwrap();
    let _second = ready(waiters[1].poll()).unwrap();
    assert!(waiters[2].poll().is_pending());
    drop(first);
    drop(ready(waiters[2].poll()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_waits_too_long_for_resume_gets_that_as_the_reason() {
    let world = World::new(2, 0);
    world.idle(2).await;
    world.pool.suspend();
    let (result, took) = timed(world.pool.acquire_within(secs(3))).await;
    assert_took(took, secs(3));
    let error = refused(result);
    let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
    assert_eq!(timed_out.phase, Phase::Suspended);
    assert!(
        error
            .to_string()
            .starts_with("the pool is suspended and was not resumed in time, timeout 3.00"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn leases_come_back_to_a_suspended_pool() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    world.pool.suspend();
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    quiet().await;
    assert!(waiter.poll().is_pending(), "a return is not lent on while the pool is suspended");
    assert_eq!(world.pool.status().idle, 1);
    world.pool.resume();
    quiet().await;
    drop(ready(waiter.poll()).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_soft_invalidation_closes_idle_connections_now_and_lent_ones_on_return() {
    let world = World::new(4, 0);
    let mut loans = world.leases(4).await;
    loans.truncate(2);
    world.pool.invalidate_all(Invalidate::Soft);
    settle().await;
    assert_eq!((world.manager.alive(), world.pool.status().generation), (2, 1));
    assert_eq!(world.trace.count("closed invalidated"), 2);
    let fresh = world.lease().await;
    assert_eq!(fresh.generation(), 1);
    drop(loans);
    settle().await;
    assert_eq!(world.trace.count("closed invalidated"), 4);
    assert_eq!((world.trace.count("invalidated 1"), world.manager.alive()), (1, 1));
    assert_eq!(world.manager.closed().len(), 4, "closed cleanly");
    drop(fresh);
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_hard_invalidation_drops_idle_connections_at_once_without_closing() {
    let world = World::new(3, 0);
    let mut loans = world.leases(3).await;
    loans.truncate(1);
    world.manager.always(Call::Close, Act::Never);
    world.pool.invalidate_all(Invalidate::Hard);
    quiet().await;
    assert_eq!(world.manager.alive(), 1);
    assert_eq!((world.manager.dropped().len(), world.manager.calls(Call::Close)), (2, 0));
    drop(loans);
    quiet().await;
    assert_eq!(world.manager.alive(), 0);
    assert_eq!(world.trace.count("closed invalidated"), 3);
}

#[tokio::test(start_paused = true)]
async fn after_an_invalidation_nothing_older_is_lent_whatever_was_under_way() {
    for how in [Invalidate::Soft, Invalidate::Hard] {
        let world = World::hooked(6, 0, |builder| builder.pre_ping_idle(Duration::ZERO));
        let (pinging, resetting, connecting) = (Gate::new(), Gate::new(), Gate::new());
        let mut loans = world.leases(3).await;
        drop(loans.pop());
        quiet().await;
        world.manager.next(Call::Ping, [Act::gated(&pinging)]);
        let in_ping = tokio::spawn(world.pool.acquire());
        quiet().await;
        world.manager.next(Call::Connect, [Act::gated(&connecting)]);
        let in_connect = tokio::spawn(world.pool.acquire());
        quiet().await;
        world.manager.next(Call::Reset, [Act::gated(&resetting)]);
        loans[1].set_dirty(true);
        drop(loans.pop());
        quiet().await;
        assert_eq!((pinging.waiting(), resetting.waiting(), connecting.waiting()), (1, 1, 1));

        world.pool.invalidate_all(how);
        for gate in [pinging, resetting, connecting] {
            gate.open();
        }
        drop(loans);
        for caller in [in_ping, in_connect] {
            assert!(caller.await.unwrap().unwrap().generation() >= 1, "{how:?}");
        }
        settle().await;
        assert!(world.leases(6).await.iter().all(|lease| lease.generation() >= 1), "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn prewarm_opens_what_is_asked_for_and_returns_when_it_is_there() {
    let world = World::with(8, 0, |builder| builder.max_connecting(2));
    world.manager.always(Call::Connect, Act::slow(secs(1)));
    let (result, took) = timed(world.pool.prewarm(6)).await;
    result.unwrap();
    assert_took(took, secs(3));
    assert_eq!((world.pool.status().idle, world.manager.running_peak(Call::Connect)), (6, 2));
    let (loans, took) = timed(world.leases(6)).await;
    assert_took(took, Duration::ZERO);
    drop(loans);
    world.pool.prewarm(3).await.unwrap();
    assert_eq!(world.manager.calls(Call::Connect), 6, "what is idle already counts");
}

#[tokio::test(start_paused = true)]
async fn prewarm_fails_with_the_cause_and_within_pool_timeout() {
    let world = World::with(4, 0, |builder| builder.pool_timeout(secs(3)));
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    let (result, took) = timed(world.pool.prewarm(2)).await;
    let error = result.unwrap_err();
    assert!(took <= secs(3) + ms(5), "{took:?}");
    assert!(error.to_string().contains("connection refused"), "{error}");

    let world = World::new(4, 0);
    world.manager.always(Call::Connect, Act::permanent("no such database"));
    let (result, took) = timed(world.pool.prewarm(2)).await;
    assert!(result.unwrap_err().to_string().contains("no such database"));
    assert!(took <= ms(10), "a permanent error is reported at once: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn prewarm_with_a_flapping_server_ends() {
    let world = World::with(4, 0, |builder| builder.pool_timeout(secs(10)));
    let flaps = (0..40).map(|n| if n % 2 == 0 { Act::transient("away") } else { Act::Ok });
    world.manager.next(Call::Connect, flaps);
    let (result, took) = timed(world.pool.prewarm(4)).await;
    assert!(result.is_ok() && took < secs(10), "{took:?}");
    assert_eq!(world.pool.status().idle, 4);
}

#[tokio::test(start_paused = true)]
async fn a_detached_connection_is_the_borrowers_and_its_place_is_free() {
    let world = World::new(1, 0);
    let mut conn = Lease::detach(world.lease().await);
    conn.set_dirty(true);
    let status = world.pool.status();
    assert_eq!((status.open, status.totals.detached), (0, 1));
    let lease = world.lease().await;
    assert_eq!((lease.id(), conn.id()), (2, 1));
    drop(conn);
    assert_eq!(world.manager.dropped(), [1], "the pool does not close it cleanly");
    assert_eq!(world.trace.count("detached #1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_discarded_connection_is_closed_for_the_reason_given() {
    for reason in [
        CloseReason::Interrupted,
        CloseReason::Unverified,
        CloseReason::HandleLeaked,
        CloseReason::Discarded,
    ] {
        let world = World::new(1, 0);
        Lease::discard(world.lease().await, reason);
        settle().await;
        assert_eq!(
            world.trace.count(&format!("closed {reason} #1")),
            1,
            "{:?}",
            world.trace.lines()
        );
        assert_eq!(world.manager.closed(), [1]);
        assert_eq!(world.lease().await.id(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn triage_decides_on_return_what_becomes_of_a_connection() {
    let world = World::new(1, 0);
    drop(world.lease().await);
    assert_eq!(world.pool.status().idle, 1, "kept, without any I/O");
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    drop(lease);
    settle().await;
    assert_eq!(world.manager.calls(Call::Reset), 1);
    world.manager.next(Call::Triage, [Act::transient("discard it")]);
    drop(world.lease().await);
    settle().await;
    assert_eq!((world.trace.count("closed unverified #1"), world.manager.alive()), (1, 0));
    world.manager.next(Call::Triage, [Act::Panic]);
    drop(world.lease().await);
    settle().await;
    assert_eq!((world.trace.count("closed panicked #2"), world.manager.alive()), (1, 0));
    assert_eq!(world.trace.count("panicked"), 1);
}

#[tokio::test(start_paused = true)]
async fn when_a_connection_comes_back_broken_the_idle_ones_are_looked_at() {
    let world = World::new(3, 0);
    let mut loans = world.leases(3).await;
    let broken = loans.pop().unwrap();
    drop(loans);
    world.manager.next(Call::Triage, [Act::broken("connection reset")]);
    world.manager.next(Call::Ping, [Act::broken("connection reset"), Act::Ok]);
    drop(broken);
    settle().await;
    assert_eq!(world.manager.calls(Call::Ping), 2);
    assert_eq!(
        (world.trace.count("closed broken #3"), world.trace.count("closed ping_failed")),
        (1, 1)
    );
    assert_eq!(world.pool.status().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reset_that_finds_a_failover_makes_everything_out_of_date() {
    let world = World::new(2, 0);
    let mut loans = world.leases(2).await;
    world.manager.next(Call::Reset, [Act::failover("the server takes no writes any more")]);
    loans[0].set_dirty(true);
    drop(loans.remove(0));
    settle().await;
    assert_eq!(world.trace.count("invalidated 1"), 1);
    drop(loans);
    settle().await;
    assert_eq!(
        world.trace.count("closed invalidated #2"),
        1,
        "the one in use goes when it comes back"
    );
    assert_eq!(world.lease().await.id(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_borrower_who_panics_costs_one_connection_at_most() {
    let world = World::new(1, 0);
    let pool = world.pool.clone();
    let task = tokio::spawn(async move {
        let _lease = pool.acquire().await.unwrap();
        std::panic::resume_unwind(Box::new("the borrower's own"));
    });
    assert!(task.await.is_err());
    settle().await;
    assert_eq!(world.trace.count("closed panicked #1"), 1, "who knows what it left half done");
    assert_eq!(world.pool.status().in_use, 0);
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn try_acquire_lends_the_freshest_for_which_nothing_is_due() {
    let world = World::new(3, 0);
    assert!(world.pool.try_acquire().is_none(), "nothing is open yet");
    let mut loans = world.leases(2).await;
    let freshest = loans[0].id();
    drop(loans.pop());
    sleep(ms(300)).await;
    drop(loans.pop());
    sleep(ms(300)).await;
    assert_eq!(world.pool.try_acquire().map(|lease| lease.id()), Some(freshest));
    assert_eq!(world.manager.calls(Call::Ping), 0);
}

#[tokio::test(start_paused = true)]
async fn try_acquire_has_the_maintenance_validate_what_is_due_and_succeeds_later() {
    let world = World::new(2, 0);
    world.idle(2).await;
    sleep(secs(10)).await;
    assert!(world.pool.try_acquire().is_none());
    settle().await;
    assert!(world.manager.calls(Call::Ping) >= 1);
    assert!(world.pool.try_acquire().is_some());
}

#[tokio::test(start_paused = true)]
async fn where_every_checkout_pings_an_validation_counts_for_half_a_second_and_a_return_does_not() {
    let world = World::with(1, 0, |builder| builder.pre_ping_idle(Duration::ZERO));
    world.idle(1).await;
    for (age, lends) in [(0, true), (499, true), (500, false)] {
        advance(ms(1)).await;
        assert!(world.pool.try_acquire().is_none(), "nobody has pinged it since it came back");
        quiet().await;
        advance(ms(age)).await;
        assert_eq!(world.pool.try_acquire().is_some(), lends, "after {age} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn try_acquire_lends_nothing_too_old_and_nothing_dead() {
    let world = World::with(1, 0, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    world.idle(1).await;
    sleep(secs(10)).await;
    world.manager.always(Call::Ping, Act::broken("closed"));
    assert!(world.pool.try_acquire().is_none());
    settle().await;
    assert!(world.pool.try_acquire().is_none());
    assert_eq!(world.trace.count("closed ping_failed #1"), 1);
}

#[tokio::test(start_paused = true)]
async fn try_acquire_counts_only_if_it_lends() {
    let world = World::new(1, 0);
    world.idle(1).await;
    let before = world.pool.status().totals.acquires;
    let lease = world.pool.try_acquire().unwrap();
    for _ in 0..5 {
        assert!(world.pool.try_acquire().is_none());
    }
    drop(lease);
    assert_eq!(world.pool.status().totals.acquires, before + 1);
    crate::support::assert_books_closed(&world.pool.status());
}

/// Once went wrong: a connection that had never been lent passed for one opened just now.
#[tokio::test(start_paused = true)]
async fn a_warm_connection_that_was_idle_for_long_is_pinged_after_a_suspension_too() {
    let world = World::new(1, 0);
    world.pool.prewarm(1).await.unwrap();
    sleep(secs(600)).await;
    world.pool.suspend();
    let mut acquire = ByHand::new(world.pool.acquire());
    assert!(acquire.poll().is_pending());
    world.pool.resume();
    drop(ready(acquire.poll()).unwrap());
    assert_eq!(world.manager.calls(Call::Ping), 1);
}

#[tokio::test(start_paused = true)]
async fn where_one_connection_broke_in_use_the_idle_ones_are_validated_but_not_after_a_cut() {
    for (act, pings) in [(Act::broken("reset by peer"), 2), (Act::transient("scripted"), 0)] {
        let world = World::new(3, 0);
        world.idle(3).await;
        let lease = world.lease().await;
        world.manager.next(Call::Triage, [act]);
        drop(lease);
        settle().await;
        assert_eq!((world.manager.calls(Call::Ping), world.manager.alive()), (pings, 2));
    }
}
