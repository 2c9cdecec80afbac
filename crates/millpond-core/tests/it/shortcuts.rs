//! Pools without pings, hooks and observers, in which loans, waits and returns go the shortest way:
//! what is lent there is as good as elsewhere.

use crate::support::{
    World, assert_books_closed, assert_took, ms, quiet, ready, refused, secs, settle, timed,
};
use millpond_core::{Invalidate, NullPool, PoolError};
use millpond_testkit::{Act, ByHand, Call, ScriptedManager, until};
use std::task::Poll;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn what_was_out_when_all_was_invalidated_is_closed_when_it_comes_back() {
    let world = World::unwatched(2, 0, |builder| builder);
    world.idle(1).await;
    let lease = world.lease().await;
    world.pool.invalidate_all(Invalidate::Soft);
    settle().await;
    drop(lease);
    settle().await;
    assert_eq!((world.manager.alive(), world.pool.status().idle), (0, 0));
    assert_eq!(world.lease().await.generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_what_is_out_of_date_nothing_is_lent_and_only_what_is_out_is_open_whatever_was_done() {
    for seed in 0..200 {
        let mut dice = fastrand::Rng::with_seed(seed);
        let size = dice.usize(1..=4);
        // Nothing is ever closed for lack of room: only for being out of date.
        let world = World::unwatched(size as u32, 0, |builder| builder);
        let (mut loans, mut opened_before) = (Vec::new(), 0);
        for step in 0..40 {
            match dice.u32(0..8) {
                0..4 if loans.len() < size => {
                    let lease = world.lease().await;
                    assert_eq!(
                        lease.generation(),
                        world.pool.status().generation,
                        "seed {seed}, step {step}"
                    );
                    loans.push(lease);
                }
                4..7 if !loans.is_empty() => drop(loans.swap_remove(dice.usize(..loans.len()))),
                7 => {
                    let how = if dice.bool() { Invalidate::Soft } else { Invalidate::Hard };
                    world.pool.invalidate_all(how);
                    opened_before = world.manager.calls(Call::Connect);
                }
                _ => settle().await,
            }
        }
        settle().await;
        let generation = world.pool.status().generation;
        let old = loans.iter().filter(|lease| lease.generation() < generation).count();
        let new = world.manager.calls(Call::Connect) - opened_before;
        assert_eq!(world.manager.alive(), old + new, "seed {seed}: {old} are lent, {new} are new");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_out_when_the_pool_was_closed_is_closed_when_it_comes_back() {
    let world = World::unwatched(2, 0, |builder| builder);
    world.idle(1).await;
    let lease = world.lease().await;
    let mut close = ByHand::new(world.pool.close());
    assert!(close.poll().is_pending());
    drop(lease);
    settle().await;
    assert_eq!(world.manager.sockets(), 0);
    assert!(ready(close.poll()).is_clean());
}

/// In real time: with a paused clock all look after their own deadlines, and nobody joins the queue
/// the shortest way.
#[tokio::test]
async fn where_many_wait_a_newcomer_is_served_after_them_all() {
    let world = World::unwatched(1, 0, |builder| builder);
    let mut lease = Some(world.lease().await);
    let mut waiters: Vec<_> = (0..5).map(|_| ByHand::new(world.pool.acquire())).collect();
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    for served in 0..5 {
        drop(lease.take());
        assert!(
            waiters[served + 1..].iter_mut().all(|waiter| waiter.poll().is_pending()),
            "{served} was passed"
        );
        lease = Some(ready(waiters[served].poll()).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_and_then_invalidated_is_not_lent() {
    let world = World::unwatched(1, 0, |builder| builder);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    world.pool.invalidate_all(Invalidate::Soft);
    assert!(waiter.poll().is_pending());
    settle().await;
    assert_eq!(ready(waiter.poll()).unwrap().generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_is_not_lent_while_the_pool_is_suspended() {
    let world = World::unwatched(1, 0, |builder| builder);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    world.pool.suspend();
    assert!(waiter.poll().is_pending());
    world.pool.resume();
    assert!(ready(waiter.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_waiter_did_not_fetch_for_long_is_pinged_before_it_is_lent() {
    let world =
        World::unwatched(1, 0, |builder| builder.pool_pre_ping(true).pre_ping_idle(ms(500)));
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    sleep(secs(1)).await;
    let lease = match waiter.poll() {
        Poll::Ready(lease) => lease,
        Poll::Pending => {
            quiet().await;
            ready(waiter.poll())
        }
    };
    assert!(lease.is_ok());
    assert_eq!(world.manager.calls(Call::Ping), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_waiter_did_not_fetch_before_its_age_was_up_is_replaced() {
    let world = World::unwatched(1, 0, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
    let lease = world.lease().await;
    let (id, mut waiter) = (lease.id(), ByHand::new(world.pool.acquire_within(secs(1_000))));
    assert!(waiter.poll().is_pending());
    drop(lease);
    sleep(secs(301)).await;
    assert!(waiter.poll().is_pending());
    settle().await;
    assert!(ready(waiter.poll()).unwrap().id() != id);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_after_the_grant_was_cancelled_and_not_served() {
    let world = World::unwatched(1, 0, |builder| builder);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    drop(waiter);
    let status = world.pool.status();
    assert_books_closed(&status);
    assert_eq!((status.totals.succeeded, status.totals.cancelled, status.idle), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_loan_counts_as_succeeded_when_its_waiter_has_it_and_no_total_ever_goes_down() {
    let world = World::unwatched(1, 0, |builder| builder);
    let succeeded = || world.pool.status().totals.succeeded;
    let lease = world.lease().await;
    let mut goes_away = ByHand::new(world.pool.acquire());
    let mut stays = ByHand::new(world.pool.acquire());
    assert!(goes_away.poll().is_pending() && stays.poll().is_pending());
    drop(lease);
    assert_eq!(succeeded(), 1, "nobody has fetched the second loan");
    drop(goes_away);
    assert_eq!(succeeded(), 1);
    let lease = ready(stays.poll()).unwrap();
    assert_eq!(succeeded(), 2);
    drop(lease);
    assert_books_closed(&world.pool.status());
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_dirty_is_reset_before_it_is_lent() {
    let world = World::unwatched(1, 0, |builder| builder);
    world.idle(1).await;
    let mut lease = world.lease().await;
    lease.set_dirty(true);
    drop(lease);
    assert!(!world.lease().await.is_dirty());
    assert_eq!(world.manager.calls(Call::Reset), 1);
}

#[tokio::test(start_paused = true)]
async fn a_null_pool_keeps_nothing() {
    let manager = ScriptedManager::new();
    let pool =
        NullPool::builder(manager.clone()).pool_size(2).pool_pre_ping(false).build().unwrap();
    drop((pool.acquire().await.unwrap(), pool.acquire().await.unwrap()));
    settle().await;
    assert_eq!((manager.sockets(), pool.status().idle), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_open_beyond_pool_size_is_closed_when_nobody_waits() {
    let world = World::unwatched(1, 2, |builder| builder.recycle_jitter(0));
    let mut loans = world.leases(3).await;
    for left in [3, 2, 1] {
        drop(loans.pop());
        settle().await;
        assert_eq!((world.manager.sockets(), world.pool.status().idle), (left, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn after_shrinking_nothing_is_lent_until_enough_has_come_back() {
    let world = World::unwatched(4, 0, |builder| builder);
    let mut loans = world.leases(4).await;
    world.pool.resize(1, 0).unwrap();
    let mut waiter = ByHand::new(world.pool.acquire());
    for left in [3, 2, 1] {
        drop(loans.pop());
        settle().await;
        assert_eq!(world.manager.sockets(), left);
        assert!(waiter.poll().is_pending());
    }
    drop(loans.pop());
    assert!(ready(waiter.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_was_idle_for_idle_timeout_is_closed() {
    let world = World::unwatched(2, 0, |builder| builder.min_idle(0).idle_timeout(secs(20)));
    for _ in 0..2 {
        drop(world.lease().await);
    }
    sleep(secs(21)).await;
    assert_eq!(world.manager.sockets(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_is_lent_is_made_up_for_where_there_is_a_min_idle() {
    let world = World::unwatched(3, 0, |builder| builder.min_idle(1));
    drop(world.lease().await);
    settle().await;
    let _lease = world.lease().await;
    settle().await;
    assert_eq!((world.pool.status().idle, world.manager.sockets()), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn the_successor_of_an_old_connection_is_there_in_time() {
    for held in [0, 295] {
        let world =
            World::unwatched(1, 1, |builder| builder.pool_recycle(secs(300)).recycle_jitter(0));
        let lease = world.lease().await;
        world.manager.always(Call::Connect, Act::slow(secs(1)));
        sleep(secs(held)).await;
        drop(lease);
        sleep(secs(301 - held)).await;
        let (lease, took) = timed(world.pool.acquire()).await;
        assert_took(took, Duration::ZERO);
        assert_eq!(lease.unwrap().id(), 2);
    }
}

#[tokio::test]
async fn where_many_wait_one_more_than_max_waiters_is_turned_away() {
    let world = World::unwatched(1, 0, |builder| builder.max_waiters(2));
    let _lease = world.lease().await;
    let mut waiters = [ByHand::new(world.pool.acquire()), ByHand::new(world.pool.acquire())];
    assert!(waiters.iter_mut().all(|waiter| waiter.poll().is_pending()));
    let error = refused(ready(ByHand::new(world.pool.acquire()).poll()));
    assert!(matches!(error, PoolError::TooManyWaiters { limit: 2 }), "{error}");
}

/// In real time; the others wait for so short a time that they watch their own deadlines from the
/// start.
#[tokio::test]
async fn one_that_waits_for_long_among_others_that_do_not_times_out_at_its_deadline() {
    for others_leave in [false, true] {
        let world = World::unwatched(1, 0, |builder| builder);
        let _lease = world.pool.acquire_within(ms(750)).await.unwrap();
        let mut other = Some(ByHand::new(world.pool.acquire_within(ms(750))));
        assert!(other.as_mut().unwrap().poll().is_pending());
        if others_leave {
            other = None;
        }
        let mut waiter = ByHand::new(world.pool.acquire_within(ms(751)));
        assert!(waiter.poll().is_pending());
        let mut seen = 0;
        until("it has timed out", async || {
            waiter.wakes() > std::mem::replace(&mut seen, waiter.wakes())
                && waiter.poll().is_ready()
        })
        .await;
        drop(other);
    }
}

#[tokio::test]
async fn where_many_wait_for_a_server_that_is_away_a_newcomer_gets_the_cause_at_once() {
    let world = World::unwatched(1, 0, |builder| builder.fail_fast_after(ms(1)));
    world.manager.next(Call::Connect, (0..4).map(|_| Act::transient("connection refused")));
    world.manager.always(Call::Connect, Act::Never);
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    until("it is tried once more", async || {
        world.manager.running(Call::Connect) == 1 && world.manager.calls(Call::Connect) == 5
    })
    .await;
    let error = refused(world.pool.acquire().await);
    assert!(matches!(error, PoolError::Connect { .. }), "{error}");
}

/// On a real clock: only there a crowd's deadlines are watched together, and only such a crowd is
/// joined the short way.
#[tokio::test]
async fn a_caller_that_comes_while_others_wait_has_a_connection_opened_if_there_is_a_slot() {
    let world = World::unwatched(3, 0, |builder| builder);
    world.manager.always(Call::Connect, Act::Never);
    let mut waiters: Vec<_> = (0..4).map(|_| ByHand::new(world.pool.acquire())).collect();
    for (waiter, connects) in waiters.iter_mut().zip([1, 2, 3, 3]) {
        assert!(waiter.poll().is_pending());
        until("the place is used", async || world.manager.calls(Call::Connect) == connects).await;
    }
}
