//! `NullPool` opens on acquire, closes on return and keeps nothing, but cap, queue and deadline
//! hold.

use crate::support::{
    assert_books_closed, assert_took, ms, quiet, ready, refused, secs, settle, timed,
};
use millpond_core::{Builder, Lease, NullPool, PoolError};
use millpond_testkit::{Act, ByHand, Call, ScriptedManager, Trace};
use std::time::Duration;
use tokio::time::sleep;

type Null = NullPool<ScriptedManager>;

struct World {
    manager: ScriptedManager,
    trace: Trace,
    pool: Null,
}

fn world(
    pool_size: u32,
    max_overflow: u32,
    tune: impl FnOnce(Builder<Null>) -> Builder<Null>,
) -> World {
    let (manager, trace) = (ScriptedManager::new(), Trace::new());
    let builder =
        NullPool::builder(manager.clone()).pool_size(pool_size).max_overflow(max_overflow);
    let pool = tune(builder.observer(trace.clone())).build().unwrap();
    World { manager, trace, pool }
}

#[tokio::test(start_paused = true)]
async fn every_loan_is_a_new_connection_and_nothing_is_kept() {
    let world = world(5, 0, |builder| builder);
    for n in 1..=10 {
        let lease = world.pool.acquire().await.unwrap();
        assert_eq!(lease.id(), n);
        drop(lease);
        settle().await;
        assert_eq!((world.manager.alive(), world.pool.status().idle), (0, 0));
    }
    assert_eq!((world.manager.closed().len(), world.manager.calls(Call::Ping)), (10, 0));
    assert_eq!(world.trace.count("closed not_pooled"), 10);
    assert_books_closed(&world.pool.status());
}

#[tokio::test(start_paused = true)]
async fn the_cap_holds_and_the_queue_is_served_in_order() {
    let world = world(1, 1, |builder| builder);
    let mut loans = vec![world.pool.acquire().await.unwrap(), world.pool.acquire().await.unwrap()];
    let mut waiters: Vec<_> = (0..3).map(|_| ByHand::new(world.pool.acquire())).collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    assert!(world.pool.try_acquire().is_none());
    for n in 0..3 {
        drop(loans.remove(0));
        quiet().await;
        for later in &mut waiters[n + 1..] {
            assert!(later.poll().is_pending());
        }
        loans.push(ready(waiters[n].poll()).unwrap());
    }
    assert_eq!((world.manager.peak(), world.manager.calls(Call::Connect)), (2, 5));
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_is_never_handed_to_a_waiter() {
    let world = world(1, 0, |builder| builder);
    let lease = world.pool.acquire().await.unwrap();
    let (pool, first) = (world.pool.clone(), lease.id());
    let waiter = tokio::spawn(async move { pool.acquire().await.unwrap().id() });
    quiet().await;
    drop(lease);
    assert_ne!(waiter.await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_holds_and_the_text_names_the_pool() {
    let world = world(2, 0, |builder| builder);
    let _loans = [world.pool.acquire().await.unwrap(), world.pool.acquire().await.unwrap()];
    let (result, took) = timed(world.pool.acquire()).await;
    assert_took(took, secs(30));
    let error = refused(result);
    let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
    assert_eq!(timed_out.kind, "NullPool");
    let begin = "NullPool limit of size 2 overflow 0 reached, connection timed out, timeout 30.00; \
        pool `pool`, phase wait: 2 in use";
    assert!(error.to_string().starts_with(begin), "{error}");
}

#[tokio::test(start_paused = true)]
async fn hooks_run_as_in_any_pool() {
    let manager = ScriptedManager::new();
    let pool = NullPool::builder(manager.clone()).hooks(manager.hooks()).build().unwrap();
    for _ in 0..2 {
        drop(pool.acquire().await.unwrap());
        settle().await;
    }
    assert_eq!(
        manager.story(1).replace(" triage", "").replace(" on_checkin", ""),
        "connect on_first_connect on_connect on_checkout on_close close"
    );
    assert_eq!(
        manager.story(2).replace(" triage", "").replace(" on_checkin", ""),
        "connect on_connect on_checkout on_close close"
    );
}

#[tokio::test(start_paused = true)]
async fn a_failing_server_is_retried_and_reported() {
    let world = world(1, 0, |builder| builder);
    world
        .manager
        .next(Call::Connect, [Act::transient("starting up"), Act::transient("starting up")]);
    drop(world.pool.acquire().await.unwrap());
    world.manager.always(Call::Connect, Act::permanent("no such file"));
    settle().await;
    let (result, took) = timed(world.pool.acquire()).await;
    assert!(refused(result).to_string().starts_with("no connection could be opened: no such file"));
    assert!(took <= ms(10), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_connect_of_a_cancelled_caller_leaves_nothing_open() {
    let world = world(1, 0, |builder| builder);
    world.manager.always(Call::Connect, Act::slow(secs(1)));
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    quiet().await;
    drop(caller);
    sleep(secs(5)).await;
    assert_eq!((world.manager.sockets(), world.pool.status().open), (0, 0));
    assert_books_closed(&world.pool.status());
}

#[tokio::test(start_paused = true)]
async fn detach_discard_and_close_work() {
    let world = world(2, 0, |builder| builder);
    drop(Lease::detach(world.pool.acquire().await.unwrap()));
    Lease::discard(world.pool.acquire().await.unwrap(), millpond_core::CloseReason::Interrupted);
    let held = world.pool.acquire().await.unwrap();
    assert_eq!(world.pool.holders().len(), 1);
    let report = world.pool.close_within(secs(1)).await;
    assert_eq!(report.holders.len(), 1);
    drop(held);
    settle().await;
    assert_eq!(world.manager.alive(), 0);
    assert!(refused(world.pool.acquire_within(Duration::ZERO).await).is_closed());
}

#[tokio::test(start_paused = true)]
async fn thousands_of_users_never_exceed_the_cap() {
    let world = world(3, 2, |builder| builder);
    world.manager.always(Call::Connect, Act::slow(ms(2)));
    world.manager.always(Call::Close, Act::slow(ms(1)));
    let users: Vec<_> = (0..2_000)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move {
                let lease = pool.acquire().await.unwrap();
                sleep(ms(1)).await;
                drop(lease);
            })
        })
        .collect();
    for user in users {
        user.await.unwrap();
    }
    settle().await;
    assert_eq!(
        (world.manager.peak(), world.manager.alive(), world.manager.calls(Call::Connect)),
        (5, 0, 2_000)
    );
}
