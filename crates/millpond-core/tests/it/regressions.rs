//! What once went wrong: each of these tests failed before the core was mended.

use crate::support::{Pool, World, assert_took, ms, quiet, ready, refused, secs, settle, timed};
use millpond_core::{HookPoint, Invalidate, NullPool, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate, ScriptedManager};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

/// Polls a future once, as its task would.
async fn poll_once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

#[tokio::test]
async fn one_who_has_to_come_again_is_woken_at_its_deadline() {
    // Nothing else ends before the test does.
    let world = World::with(2, 0, |builder| {
        builder.pre_ping_idle(Duration::ZERO).connect_timeout(secs(300))
    });
    world.idle(1).await;
    let ping = Gate::new();
    world.manager.always(Call::Connect, Act::Never);
    world.manager.always(Call::Ping, Act::gated(&ping).then(Act::broken("gone")));
    let (one, two) = (world.pool.acquire_within(ms(200)), world.pool.acquire_within(ms(200)));
    let first = tokio::spawn(one);
    quiet().await;
    let second = tokio::spawn(two);
    tokio::task::yield_now().await;
    ping.open();
    let (second, first) = (second.await.unwrap(), timeout(secs(20), first).await);
    assert!(refused(second).is_timeout());
    assert!(refused(first.expect("it is ended by its own limit").unwrap()).is_timeout());
}

#[test]
fn a_runtime_may_end_before_a_job_has_begun() {
    for fillers in 0..130 {
        let manager = ScriptedManager::new();
        let pool = Pool::builder(manager.clone()).pool_size(1).max_overflow(0).build().unwrap();
        let first = runtime();
        first.block_on(async {
            for _ in 0..fillers {
                tokio::spawn(async {});
            }
            tokio::spawn(pool.acquire());
            tokio::task::yield_now().await;
        });
        drop(first);
        let status = pool.status();
        assert_eq!((status.connecting, status.open), (0, 0), "{fillers} fillers: {status:?}");
    }
}

#[test]
fn a_runtime_may_end_before_a_reset_has_begun() {
    for fillers in 0..130 {
        let manager = ScriptedManager::new();
        let pool = Pool::builder(manager.clone()).pool_size(1).max_overflow(0).build().unwrap();
        let first = runtime();
        first.block_on(async {
            let mut lease = pool.acquire().await.unwrap();
            quiet().await;
            for _ in 0..fillers {
                tokio::spawn(async {});
            }
            lease.set_dirty(true);
            drop(lease);
            tokio::task::yield_now().await;
        });
        drop(first);
        let second = runtime();
        let result = second.block_on(pool.acquire_within(secs(20))).map(drop);
        assert!(result.is_ok(), "{fillers} fillers: {:?} {}", pool.status(), result.unwrap_err());
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_before_an_invalidation_is_not_lent_after_it() {
    for how in [Invalidate::Soft, Invalidate::Hard] {
        let world = World::new(1, 0);
        let lease = world.lease().await;
        let mut waiter = ByHand::new(world.pool.acquire());
        assert!(waiter.poll().is_pending());
        drop(lease);
        assert_eq!(waiter.wakes(), 1, "it was granted the connection");
        world.pool.invalidate_all(how);
        settle().await;
        if let Poll::Ready(lease) = waiter.poll() {
            assert_eq!(lease.unwrap().generation(), 1, "{how:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_granted_and_not_fetched_until_it_was_too_old_is_not_lent() {
    let world = World::with(1, 0, |b| {
        b.pool_recycle(secs(300)).recycle_jitter(0).pool_timeout(secs(300)).pool_pre_ping(false)
    });
    let lease = world.lease().await;
    sleep(secs(299)).await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    sleep(secs(10)).await;
    if let Poll::Ready(lease) = waiter.poll() {
        assert_ne!(lease.unwrap().id(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn prewarming_a_suspended_pool_does_not_say_that_it_is_closed() {
    let world = World::new(2, 0);
    world.pool.suspend();
    let error = world.pool.prewarm(2).await.unwrap_err();
    assert!(!error.is_closed(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn prewarming_with_a_server_that_does_not_answer_does_not_say_that_it_is_closed() {
    let world = World::with(2, 0, |builder| builder.pool_timeout(secs(3)));
    world.manager.always(Call::Connect, Act::Never);
    let error = world.pool.prewarm(2).await.unwrap_err();
    assert!(!error.is_closed(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn prewarming_a_null_pool_does_not_say_that_it_is_closed() {
    let pool: NullPool<ScriptedManager> =
        NullPool::builder(ScriptedManager::new()).build().unwrap();
    let (result, took) = timed(pool.prewarm(1)).await;
    assert!(!matches!(result, Err(PoolError::Closed)), "{result:?} after {took:?}");
}

#[tokio::test(start_paused = true)]
async fn two_may_prewarm_at_once() {
    let world = World::with(8, 0, |builder| builder.max_connecting(1));
    world.manager.always(Call::Connect, Act::slow(ms(100)));
    let (few, many) = tokio::join!(world.pool.prewarm(2), world.pool.prewarm(8));
    few.unwrap();
    many.unwrap();
}

#[tokio::test(start_paused = true)]
async fn prewarm_tries_again_after_a_permanent_error_long_ago() {
    let world = World::new(2, 0);
    world.manager.next(Call::Connect, [Act::permanent("wrong password")]);
    let _ = world.pool.acquire().await.unwrap_err();
    sleep(secs(3_600)).await;
    world.pool.prewarm(2).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_waiter_has_its_own_overflow_after() {
    let world = World::with(1, 2, |builder| builder.overflow_after(ms(100)));
    let _held = world.lease().await;
    world.manager.always(Call::Connect, Act::slow(secs(5)));
    let first = tokio::spawn(world.pool.acquire());
    sleep(ms(50)).await;
    let (second, took) = timed(world.pool.acquire()).await;
    let _second = second.unwrap();
    let _first = first.await.unwrap().unwrap();
    assert_took(took, ms(5_100));
}

#[test]
fn a_waiter_may_move_to_another_runtime_when_the_one_it_began_on_has_ended() {
    let pool_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let manager = ScriptedManager::new();
    let pool = Pool::builder(manager)
        .pool_size(1)
        .max_overflow(0)
        .runtime(pool_runtime.handle().clone())
        .build()
        .unwrap();
    let lease = pool_runtime.block_on(pool.acquire()).unwrap();
    let mut waiter = Box::pin(pool.acquire());
    let other = runtime();
    assert!(other.block_on(async { timeout(ms(50), &mut waiter).await }).is_err());
    drop(other);
    let on_pool_runtime = async move {
        assert!(poll_once(waiter.as_mut()).await.is_none(), "the connection is still out");
        drop(lease);
        waiter.await.map(drop)
    };
    let moved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool_runtime.block_on(on_pool_runtime)
    }));
    assert!(
        pool_runtime.block_on(pool.acquire_within(secs(20))).is_ok(),
        "slot lost: {:?}",
        pool.status()
    );
    assert!(moved.is_ok_and(|result| result.is_ok()), "it panicked");
}

#[tokio::test(start_paused = true)]
async fn an_acquire_that_was_served_is_not_woken_again() {
    let world = World::with(1, 0, |builder| builder);
    let lease = world.pool.acquire().await.unwrap();
    // A limit this short sets its timer at once.
    let mut waiter = ByHand::new(world.pool.acquire_within(ms(20)));
    assert!(waiter.poll().is_pending());
    drop(lease);
    let lease = waiter.poll();
    assert!(lease.is_ready());
    let wakes = waiter.wakes();
    sleep(secs(1)).await;
    assert_eq!(waiter.wakes(), wakes);
}

#[test]
fn a_caller_on_a_runtime_without_a_timer_is_served_through_the_home() {
    let pool_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let manager = ScriptedManager::new();
    manager.always(Call::Ping, Act::gated(&Gate::new()));
    let pool = Pool::builder(manager)
        .pool_size(1)
        .max_overflow(0)
        .pre_ping_idle(Duration::ZERO)
        .ping_timeout(ms(50));
    let pool = pool.runtime(pool_runtime.handle().clone()).build().unwrap();
    drop(pool_runtime.block_on(pool.acquire()).unwrap());
    let timerless = Builder::new_current_thread().build().unwrap();
    drop(timerless.block_on(pool.acquire()).unwrap());
}

#[test]
fn a_waiter_on_a_runtime_without_a_timer_waits_by_the_home() {
    let pool_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = Pool::builder(ScriptedManager::new()).pool_size(1).max_overflow(0);
    let pool = pool.runtime(pool_runtime.handle().clone()).build().unwrap();
    let lease = pool_runtime.block_on(pool.acquire()).unwrap();
    let timerless = Builder::new_current_thread().build().unwrap();
    let mut waiter = Box::pin(pool.acquire_within(ms(20)));
    let result = timerless.block_on(async move {
        assert!(
            poll_once(waiter.as_mut()).await.is_none(),
            "a limit this short sets its timer at once"
        );
        drop(lease);
        waiter.await.map(drop)
    });
    result.unwrap();
}

#[tokio::test(start_paused = true)]
async fn on_first_connect_is_not_called_again_when_only_on_connect_refused() {
    let world = World::hooked(3, 0, |builder| builder);
    world.manager.next(Call::Hook(HookPoint::Connect), [Act::transient("no")]);
    drop(world.lease().await);
    assert_eq!(world.manager.calls(Call::Hook(HookPoint::FirstConnect)), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_on_a_cold_pool_does_not_say_that_the_limit_of_size_is_reached() {
    let world = World::new(10, 20);
    let error = refused(world.pool.acquire_within(Duration::ZERO).await);
    assert!(!error.to_string().contains("reached"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_overflow_after_does_not_report_a_used_up_overflow() {
    let world = World::with(1, 5, |builder| builder.overflow_after(secs(10)));
    let _held = world.lease().await;
    let error = refused(world.pool.acquire_within(secs(2)).await);
    assert!(!error.to_string().contains("overflow 5 reached"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_polled_often_is_woken_once() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut close = ByHand::new(world.pool.close());
    for _ in 0..1_000 {
        assert!(close.poll().is_pending());
    }
    drop(lease);
    settle().await;
    assert!(close.wakes() < 10, "{}", close.wakes());
}

#[tokio::test(start_paused = true)]
async fn try_acquire_succeeds_after_the_validation_also_where_every_checkout_pings() {
    let world = World::with(1, 0, |builder| builder.pre_ping_idle(Duration::ZERO));
    world.idle(1).await;
    let mut lent = false;
    for _ in 0..10 {
        lent |= world.pool.try_acquire().is_some();
        quiet().await;
    }
    assert!(lent);
}

#[tokio::test]
async fn a_deadline_holds_under_a_clock_that_was_paused_while_somebody_waited() {
    let world = World::new(1, 0);
    let _held = world.lease().await;
    quiet().await;
    let mut other = ByHand::new(world.pool.acquire());
    assert!(other.poll().is_pending());
    tokio::time::pause();
    tokio::time::advance(secs(3_600)).await;
    let mut waiter = ByHand::new(world.pool.acquire_within(secs(1)));
    assert!(waiter.poll().is_pending());
    let began = std::time::Instant::now();
    while waiter.wakes() == 0 {
        assert!(began.elapsed() < secs(10), "nothing has made it watch its deadline");
        thread::yield_now();
    }
    assert!(waiter.poll().is_pending());
    tokio::time::advance(secs(2)).await;
    assert!(refused(ready(waiter.poll())).is_timeout());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_size_that_grows_closes_nothing() {
    let world = World::with(2, 10, |builder| builder.overflow_linger(secs(60)));
    world.idle(8).await;
    world.pool.resize(3, 10).unwrap();
    settle().await;
    assert_eq!(world.trace.count("closed"), 0);
}

#[tokio::test(start_paused = true)]
async fn renewal_goes_on_after_a_suspension() {
    let world =
        World::with(1, 1, |b| b.pool_recycle(secs(300)).recycle_jitter(0).pool_pre_ping(false));
    world.idle(1).await;
    world.pool.suspend();
    sleep(secs(292)).await;
    world.pool.resume();
    sleep(secs(6)).await;
    assert_eq!(world.pool.status().idle, 2, "the successor has been opened ahead of time");
}

#[tokio::test(start_paused = true)]
async fn a_suspended_pool_opens_nothing() {
    let world = World::new(2, 0);
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    world.pool.suspend();
    settle().await;
    assert_eq!(world.manager.calls(Call::Connect), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_served_by_a_suspended_pool() {
    let world = World::new(1, 0);
    let lease = world.lease().await;
    let mut waiter = ByHand::new(world.pool.acquire());
    assert!(waiter.poll().is_pending());
    drop(lease);
    world.pool.suspend();
    assert!(waiter.poll().is_pending(), "nothing is lent once suspend has returned");
}

#[test]
fn prewarm_where_only_the_home_is_a_runtime() {
    let pool_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = Pool::builder(ScriptedManager::new()).build().unwrap();
    drop(pool_runtime.block_on(pool.acquire()).unwrap());
    let mut prewarm = ByHand::new(pool.prewarm(1));
    assert!(ready(prewarm.poll()).is_ok());
}

#[test]
fn a_pool_that_fails_fast_finds_its_server_again_although_its_runtime_has_ended() {
    let manager = ScriptedManager::new();
    manager.always(Call::Connect, Act::transient("down"));
    let builder = Pool::builder(manager.clone()).pool_size(1).max_overflow(0);
    let pool = builder.fail_fast_after(ms(1)).backoff_max(ms(1)).build().unwrap();
    let first = runtime();
    first.block_on(async {
        while !matches!(pool.acquire_within(ms(5)).await, Err(PoolError::Connect { .. })) {
            tokio::task::yield_now().await;
        }
    });
    drop(first);
    manager.heal();
    runtime().block_on(async {
        while pool.acquire_within(secs(5)).await.is_err() {
            tokio::task::yield_now().await;
        }
    });
}
