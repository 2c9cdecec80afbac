//! Close means closed: waiters get an error, borrowers are waited for, stragglers are named, and
//! nothing stays behind.

use crate::support::{
    Pool, World, assert_books, assert_took, ms, quiet, ready, refused, secs, settle, timed,
};
use millpond_core::{HookPoint, Lease, PoolExt};
use millpond_testkit::{Act, ByHand, Call, Gate, ScriptedManager};
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn close_closes_every_idle_connection_cleanly() {
    let world = World::new(5, 0);
    world.idle(5).await;
    let (report, took) = timed(world.pool.close()).await;
    assert!(report.is_clean());
    assert_took(took, Duration::ZERO);
    assert_eq!((world.manager.alive(), world.manager.closed().len()), (0, 5));
    assert_eq!(world.trace.count("closed pool_closed"), 5);
    assert!(world.pool.is_closed() && world.pool.status().closed);
    assert!(report.to_string().starts_with("closed in 0.00 s, nothing is left open"), "{report}");
}

#[tokio::test(start_paused = true)]
async fn after_close_every_acquire_is_refused_without_any_io() {
    let world = World::new(2, 0);
    let _ = world.pool.close().await;
    let (result, took) = timed(world.pool.acquire()).await;
    assert!(refused(result).is_closed());
    assert_took(took, Duration::ZERO);
    assert!(refused(world.pool.acquire_within(Duration::ZERO).await).is_closed());
    assert!(world.pool.try_acquire().is_none());
    assert!(world.pool.prewarm(1).await.unwrap_err().is_closed());
    assert_eq!(world.manager.calls(Call::Connect), 0);
}

#[tokio::test(start_paused = true)]
async fn close_fails_all_waiters_at_once() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut waiters: Vec<_> = (0..3).map(|_| ByHand::new(world.pool.acquire())).collect();
    for waiter in &mut waiters {
        assert!(waiter.poll().is_pending());
    }
    let mut close = ByHand::new(world.pool.close());
    assert!(close.poll().is_pending());
    for waiter in &mut waiters {
        assert!(waiter.wakes() > 0);
        assert!(refused(ready(waiter.poll())).is_closed());
    }
    drop(lease);
    quiet().await;
    assert!(ready(close.poll()).is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_who_was_handed_a_connection_just_before_close_gets_an_answer() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    let mut close = ByHand::new(world.pool.close());
    assert!(close.poll().is_pending());
    drop(ready(waiter.poll()));
    quiet().await;
    assert!(ready(close.poll()).is_clean());
    assert_eq!(world.manager.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn close_waits_for_borrowers() {
    let world = World::new(2, 0);
    let lease = world.lease().await;
    let pool = world.pool.clone();
    let close = tokio::spawn(async move { timed(pool.close()).await });
    sleep(secs(7)).await;
    assert!(!close.is_finished());
    assert!(!lease.is_dirty(), "the lease stays good");
    drop(lease);
    let (report, took) = close.await.unwrap();
    assert!(report.is_clean());
    assert_took(took, secs(7));
    assert_eq!(world.manager.closed(), [1]);
}

#[tokio::test(start_paused = true)]
async fn close_ends_at_its_limit_and_names_who_still_holds_what() {
    let world = World::new(3, 0);
    let (oldest, line) = (world.pool.acquire().await.unwrap(), line!());
    sleep(secs(1)).await;
    let other = world.lease().await;
    let (report, took) = timed(world.pool.close_within(secs(4))).await;
    assert_took(took, secs(4));
    assert!(!report.is_clean());
    assert_eq!((report.holders.len(), report.pending), (2, 0));
    assert_eq!(
        (report.holders[0].id.get(), report.holders[0].location.line()),
        (oldest.id(), line)
    );
    assert_eq!(report.holders[0].held.as_secs(), 5);
    let text = report.to_string();
    let named = format!("after 4.00 s 2 are still held, {}:{line} for 5.0", file!());
    assert!(text.starts_with(&named), "{text}");

    drop((oldest, other));
    settle().await;
    assert_eq!(
        (world.manager.alive(), world.manager.closed().len()),
        (0, 2),
        "what comes back later is closed"
    );
}

#[tokio::test(start_paused = true)]
async fn close_of_pool_ext_gives_borrowers_thirty_seconds() {
    let world = World::new(1, 0);
    let _lease = world.lease().await;
    let dynamic: Arc<dyn millpond_core::Pool<Connection = _>> = Arc::new(world.pool.clone());
    let (report, took) = timed(dynamic.close()).await;
    assert_took(took, secs(30));
    assert_eq!(report.holders.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_cancelled_goes_on_without_its_caller() {
    let world = World::new(2, 0);
    let mut loans = world.leases(2).await;
    drop(loans.pop());
    let mut close = ByHand::new(world.pool.close());
    assert!(close.poll().is_pending());
    drop(close);
    settle().await;
    assert!(refused(world.pool.acquire().await).is_closed());
    drop(loans);
    settle().await;
    assert_eq!((world.manager.alive(), world.manager.closed().len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn concurrent_closes_all_end_and_all_report() {
    let world = World::new(3, 0);
    let lease = world.lease().await;
    let closes: Vec<_> = (0..5)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move { pool.close().await })
        })
        .collect();
    sleep(secs(2)).await;
    drop(lease);
    for close in closes {
        let (report, took) = timed(close).await;
        assert!(report.unwrap().is_clean());
        assert_took(took, Duration::ZERO);
    }
    assert!(world.pool.close().await.is_clean(), "and once more");
    assert_eq!(world.trace.count("closing"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_moves_to_another_task_is_woken_there() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let pool = world.pool.clone();
    let mut close = Box::pin(async move { pool.close().await });
    assert!(close.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let close = tokio::spawn(close);
    quiet().await;
    drop(lease);
    let (report, took) = timed(close).await;
    assert!(report.unwrap().is_clean());
    assert_took(took, Duration::ZERO);
}

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_one_who_does_not_wait_for_the_close_any_more() {
    let world = World::new(1, 0);
    let _lease = world.lease().await;
    let mut other = ByHand::new(world.pool.close());
    assert!(other.poll().is_pending());
    let nobody = Arc::new(Nobody);
    let mut close = Box::pin(world.pool.close());
    let waker = Waker::from(Arc::clone(&nobody));
    assert!(close.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop((close, waker));
    assert_eq!(Arc::strong_count(&nobody), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connect_under_way_at_close_leaves_nothing_behind() {
    let acts = [
        Act::slow(secs(1)),
        Act::slow(secs(1)).then(Act::transient("away")),
        Act::Never,
        Act::Panic,
    ];
    for act in acts {
        let world = World::new(2, 0);
        world.manager.always(Call::Connect, act.clone());
        let mut caller = ByHand::new(world.pool.acquire());
        assert!(caller.poll().is_pending());
        quiet().await;
        let (report, took) = timed(world.pool.close_within(secs(20))).await;
        assert!(report.is_clean(), "{act:?}: {report}");
        assert!(took <= secs(10) + ms(2), "{act:?}: {took:?}");
        assert!(refused(ready(caller.poll())).is_closed(), "{act:?}");
        assert_eq!(
            (world.manager.sockets(), world.manager.running(Call::Connect)),
            (0, 0),
            "{act:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn close_does_not_wait_for_a_server_that_does_not_answer() {
    let world = World::new(2, 0);
    world.manager.always(Call::Connect, Act::Never);
    let mut caller = ByHand::new(world.pool.acquire());
    assert!(caller.poll().is_pending());
    quiet().await;
    let (report, took) = timed(world.pool.close()).await;
    assert!(report.is_clean(), "{report}");
    assert_took(took, Duration::ZERO);
    assert_eq!(world.manager.sockets(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_connect_begins_after_close() {
    let world = World::with(4, 4, |builder| builder.min_idle(3));
    world.manager.always(Call::Connect, Act::transient("away"));
    let mut callers: Vec<_> = (0..6).map(|_| ByHand::new(world.pool.acquire())).collect();
    for caller in &mut callers {
        assert!(caller.poll().is_pending());
    }
    sleep(secs(1)).await;
    let _ = world.pool.close().await;
    let attempts = world.manager.calls(Call::Connect);
    sleep(secs(60)).await;
    assert_eq!(world.manager.calls(Call::Connect), attempts);
}

#[tokio::test(start_paused = true)]
async fn whatever_a_connection_is_going_through_close_ends_it() {
    for call in [
        Call::Ping,
        Call::Reset,
        Call::Close,
        Call::Hook(HookPoint::Checkin),
        Call::Hook(HookPoint::Close),
    ] {
        for act in [Act::Never, Act::Panic, Act::slow(ms(500)), Act::broken("gone")] {
            let world = World::hooked(2, 0, |builder| builder.pre_ping_idle(Duration::ZERO));
            world.idle(2).await;
            world.manager.always(call, act.clone());
            let pool = world.pool.clone();
            let caller = tokio::spawn(async move { drop(pool.acquire().await) });
            quiet().await;
            if let Some(mut lease) = ready_lease(&world.pool) {
                lease.set_dirty(true);
            }
            quiet().await;
            let (report, took) = timed(world.pool.close()).await;
            assert!(report.is_clean(), "{call} {act:?}: {report}");
            assert!(took <= secs(20), "{call} {act:?}: {took:?}");
            assert_eq!(world.manager.sockets(), 0, "{call} {act:?}");
            caller.await.unwrap();
            assert_books(&world.pool.status());
        }
    }
}

/// A lease if one is available in a single poll.
fn ready_lease(pool: &Pool) -> Option<Lease<millpond_testkit::ScriptedConnection>> {
    match ByHand::new(pool.acquire()).poll() {
        std::task::Poll::Ready(result) => result.ok(),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test(start_paused = true)]
async fn resize_and_the_other_switches_do_nothing_to_a_closed_pool() {
    let world = World::with(2, 0, |builder| builder.min_idle(2));
    drop(world.lease().await);
    let _ = world.pool.close().await;
    let attempts = world.manager.calls(Call::Connect);
    let _ = world.pool.resize(5, 5);
    world.pool.suspend();
    world.pool.resume();
    world.pool.invalidate_all(millpond_core::Invalidate::Hard);
    settle().await;
    assert!(refused(world.pool.acquire().await).is_closed());
    assert_eq!((world.manager.calls(Call::Connect), world.manager.alive()), (attempts, 0));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_closes_the_idle_connections() {
    let world = World::new(3, 0);
    world.idle(3).await;
    let World { manager, trace, pool } = world;
    let other = pool.clone();
    drop(pool);
    settle().await;
    assert_eq!(manager.alive(), 3, "one handle is left");
    drop(other);
    settle().await;
    assert_eq!((manager.alive(), manager.closed().len()), (0, 3));
    assert_eq!(trace.count("closed pool_closed"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlives_its_pool_and_is_closed_on_return() {
    let world = World::new(3, 0);
    let lease = world.lease().await;
    let World { manager, trace, pool } = world;
    drop(pool);
    settle().await;
    assert_eq!((manager.alive(), lease.id()), (1, 1));
    drop(lease);
    settle().await;
    assert_eq!((manager.alive(), trace.count("closed pool_closed #1")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_acquire_keeps_its_pool_alive_or_learns_that_it_is_closed() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let waiter = tokio::spawn(world.pool.acquire());
    quiet().await;
    let World { manager, pool, .. } = world;
    drop(pool);
    quiet().await;
    drop(lease);
    match waiter.await.unwrap() {
        Ok(lease) => drop(lease),
        Err(error) => assert!(error.is_closed(), "{error}"),
    }
    settle().await;
    assert_eq!(manager.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_in_memory_by_a_pool_that_is_gone() {
    let token = Arc::new(());
    let held = Arc::clone(&token);
    let manager = ScriptedManager::new();
    let pool = Pool::builder(manager.clone())
        .on_connect(move |_, _| {
            let _held = &held;
            Box::pin(async { Ok(()) })
        })
        .build()
        .unwrap();
    let lease = pool.acquire().await.unwrap();
    let mut cancelled = ByHand::new(pool.acquire());
    let _ = cancelled.poll();
    drop((lease, cancelled));
    let _ = pool.close().await;
    drop(pool);
    settle().await;
    assert_eq!(Arc::strong_count(&token), 1, "hooks, and with them the pool, are gone");
}

#[tokio::test(start_paused = true)]
async fn a_slow_close_is_waited_for_and_a_hanging_one_is_not() {
    let world = World::with(2, 0, |builder| builder.close_timeout(secs(3)));
    world.idle(2).await;
    world.manager.next(Call::Close, [Act::slow(secs(2)), Act::Never]);
    let (report, took) = timed(world.pool.close()).await;
    assert!(report.is_clean());
    assert_took(took, secs(3));
    assert_eq!((world.manager.closed().len(), world.manager.dropped().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_still_closing_at_the_limit_is_pending_in_the_report() {
    let world = World::new(2, 0);
    world.idle(2).await;
    let gate = Gate::new();
    world.manager.always(Call::Close, Act::gated(&gate));
    let report = world.pool.close_within(secs(1)).await;
    assert_eq!((report.holders.len(), report.pending), (0, 2), "{report}");
    gate.open();
    settle().await;
    assert_eq!(world.manager.alive(), 0);
}
