//! Which runtime a pool lives on, what happens when that ends, and what works without one.

use crate::support::{Loan, Pool, World, ms, quiet, ready, refused, secs, settle};
use millpond_core::{AcquireFailure, CloseReason, HookPoint, Lease, PoolError};
use millpond_testkit::{Act, ByHand, Call, Gate, ScriptedManager, Trace};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{advance, sleep};

/// A runtime of its own, as `#[tokio::test]` makes one.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// On the runtime that follows one that has shut down.
async fn every_slot_can_be_lent_again(pool: &Pool, manager: &ScriptedManager, held: Vec<Loan>) {
    let lease = pool.acquire().await.unwrap();
    assert!(lease.id() > 3, "it was opened on the new runtime");
    drop(held);
    drop(lease);
    settle().await;
    let loans =
        [pool.acquire().await, pool.acquire().await, pool.acquire().await, pool.acquire().await];
    assert!(loans.iter().all(Result::is_ok), "{:?}", pool.status());
    assert_eq!(manager.alive(), 4);
    assert!(manager.peak() <= 4);
}

static SHARED: LazyLock<Pool> =
    LazyLock::new(|| Pool::builder(ScriptedManager::new()).pool_size(3).build().unwrap());

/// In earnest time: a paused clock runs ahead as soon as its own runtime has nothing to do,
/// whatever another one does.
async fn use_the_shared_pool() {
    for _ in 0..200 {
        let loans: Vec<Loan> =
            vec![SHARED.acquire().await.unwrap(), SHARED.acquire().await.unwrap()];
        quiet().await;
        drop(loans);
    }
}

#[tokio::test]
async fn a_static_pool_serves_one_test() {
    use_the_shared_pool().await;
}

#[tokio::test]
async fn a_static_pool_serves_another_test_on_another_runtime() {
    use_the_shared_pool().await;
}

#[test]
fn one_runtime_after_another_uses_the_same_pool() {
    let manager = ScriptedManager::new();
    let trace = Trace::new();
    let pool = Pool::builder(manager.clone())
        .pool_size(3)
        .max_overflow(1)
        .observer(trace.clone())
        .build()
        .unwrap();
    for round in 0..5 {
        let runtime = runtime();
        runtime.block_on(async {
            let loans = vec![pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
            assert!(loans.iter().all(|lease| lease.generation() == loans[0].generation()));
            assert_eq!(
                manager.calls(Call::Connect),
                2 * (round + 1),
                "what the ended runtime had opened is not lent"
            );
            drop(loans);
        });
        drop(runtime);
    }
    assert_eq!(trace.count("closed runtime_shut_down"), 2 * 5);
    assert_eq!((trace.count("runtime shut down"), manager.alive()), (5, 0));
}

#[test]
fn a_home_may_end_while_connections_are_out_idle_connecting_resting_and_awaited() {
    let manager = ScriptedManager::new();
    let trace = Trace::new();
    let pool = Pool::builder(manager.clone())
        .pool_size(3)
        .max_overflow(1)
        .observer(trace.clone())
        .build()
        .unwrap();
    let first = runtime();
    let held = first.block_on(async {
        let mut loans = vec![
            pool.acquire().await.unwrap(),
            pool.acquire().await.unwrap(),
            pool.acquire().await.unwrap(),
        ];
        manager.always(Call::Reset, Act::Never);
        loans[0].set_dirty(true);
        drop(loans.remove(0));
        drop(loans.remove(0));
        quiet().await;
        manager.next(Call::Connect, [Act::Never]);
        let _idle = pool.acquire().await.unwrap();
        tokio::spawn(pool.acquire());
        quiet().await;
        loans
    });
    drop(first);
    manager.heal();
    let second = runtime();
    second.block_on(every_slot_can_be_lent_again(&pool, &manager, held));
    assert_eq!(trace.count("runtime shut down"), 1);
}

#[test]
fn a_waiter_on_a_living_runtime_is_served_after_the_home_has_ended() {
    let manager = ScriptedManager::new();
    let pool_runtime = runtime();
    let pool = Pool::builder(manager.clone())
        .pool_size(1)
        .max_overflow(0)
        .runtime(pool_runtime.handle().clone())
        .build()
        .unwrap();
    manager.next(Call::Connect, [Act::Never]);
    let other = runtime();
    other.block_on(async {
        let waiter = tokio::spawn(pool.acquire());
        quiet().await;
        drop_elsewhere(pool_runtime);
        let (answer, took) = crate::support::timed(waiter).await;
        assert!(answer.unwrap().is_ok());
        assert!(took < secs(30), "{took:?}");
    });
}

/// Ends a runtime from a thread that is allowed to.
fn drop_elsewhere(runtime: Runtime) {
    thread::spawn(move || drop(runtime)).join().unwrap();
}

#[test]
fn acquire_without_tokio_is_an_error_and_not_a_panic() {
    let pool = Pool::builder(ScriptedManager::new()).build().unwrap();
    let error = refused(ready(ByHand::new(pool.acquire()).poll()));
    assert_eq!(error.kind(), AcquireFailure::NoRuntime);
    assert!(
        error.to_string().starts_with("there is no tokio runtime with a timer here"),
        "{error}"
    );
    assert!(pool.try_acquire().is_none());
    assert_eq!(pool.status().totals.failed, 1);
    runtime().block_on(async { drop(pool.acquire().await.unwrap()) });
}

#[test]
fn a_runtime_without_a_timer_is_an_error_and_not_a_panic() {
    let pool = Pool::builder(ScriptedManager::new()).build().unwrap();
    let timerless = Builder::new_current_thread().build().unwrap();
    let error = timerless.block_on(async { refused(pool.acquire().await) });
    assert!(matches!(error, PoolError::NoRuntime), "{error}");
    runtime().block_on(async { drop(pool.acquire().await.unwrap()) });
    drop(timerless);
}

/// Blocks the thread on a future without any runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

#[test]
fn with_a_handle_given_to_the_builder_any_thread_can_acquire() {
    let pool_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let manager = ScriptedManager::new();
    let pool = Pool::builder(manager.clone())
        .pool_size(1)
        .max_overflow(0)
        .runtime(pool_runtime.handle().clone())
        .build()
        .unwrap();
    let lease = block_on(pool.acquire()).unwrap();
    let (waiting, returned) = (pool.clone(), lease.id());
    let waiter = thread::spawn(move || block_on(waiting.acquire()).unwrap().id());
    while pool.status().waiting == 0 {
        thread::yield_now();
    }
    drop(lease);
    assert_eq!(waiter.join().unwrap(), returned);
    runtime().block_on(async { drop(pool.acquire().await.unwrap()) });
    assert_eq!(
        manager.calls(Call::Connect),
        1,
        "all callers share the connections of that runtime"
    );
    assert!(block_on(pool.close()).is_clean());
}

#[test]
fn a_deadline_holds_where_nobody_runs_a_runtime_but_the_home() {
    let pool_runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pool = Pool::builder(ScriptedManager::new()).pool_size(1).max_overflow(0);
    let pool = pool.runtime(pool_runtime.handle().clone()).build().unwrap();
    let _lease = block_on(pool.acquire()).unwrap();
    assert!(refused(block_on(pool.acquire_within(ms(20)))).is_timeout());
}

#[test]
fn a_home_that_nobody_polls_does_not_hold_a_waiter_beyond_its_deadline() {
    let parked = runtime();
    let pool =
        Pool::builder(ScriptedManager::new()).runtime(parked.handle().clone()).build().unwrap();
    runtime().block_on(async {
        let (result, took) = crate::support::timed(pool.acquire_within(secs(5))).await;
        let error = refused(result);
        crate::support::assert_took(took, secs(5));
        let PoolError::TimedOut(timed_out) = &error else { panic!("{error:?}") };
        assert!(timed_out.runtime_stalled_for.is_some());
        assert!(
            error
                .to_string()
                .contains("the runtime on which the pool connects has not run for 5.0"),
            "{error}"
        );
    });
    parked.block_on(async { drop(pool.acquire().await.unwrap()) });
}

#[test]
fn a_home_that_runs_is_not_said_to_stand_still() {
    runtime().block_on(async {
        let world = World::new(1, 0);
        world.manager.always(Call::Connect, Act::Never);
        let error = refused(world.pool.acquire_within(secs(5)).await);
        assert!(!error.to_string().contains("has not run"), "{error}");
    });
}

#[test]
fn a_lease_may_be_dropped_on_a_plain_thread() {
    let runtime = runtime();
    let world = runtime.block_on(async { World::hooked(2, 0, |builder| builder) });
    let mut loans = runtime.block_on(world.leases(2));
    loans[0].set_dirty(true);
    thread::spawn(move || drop(loans)).join().unwrap();
    runtime.block_on(async {
        settle().await;
        assert_eq!(world.pool.status().idle, 2);
        assert_eq!(world.manager.calls(Call::Reset), 1);
        world.assert_sound().await;
    });
}

#[test]
fn a_lease_may_be_dropped_while_its_runtime_shuts_down() {
    for dirty in [false, true] {
        let first = runtime();
        let (world, acquired) = first.block_on(async {
            let world = World::hooked(1, 0, |builder| builder);
            let (pool, acquired) = (world.pool.clone(), Gate::new());
            let opened = acquired.clone();
            tokio::spawn(async move {
                let mut lease = pool.acquire().await.unwrap();
                lease.set_dirty(dirty);
                opened.open();
                std::future::pending::<()>().await;
                drop(lease);
            });
            acquired.pass().await;
            (world, acquired)
        });
        drop((first, acquired));
        assert_eq!(world.pool.status().in_use, 0, "dirty: {dirty}");
        runtime().block_on(world.assert_sound());
    }
}

#[test]
fn a_lease_may_be_dropped_after_its_pool_and_its_runtime() {
    let manager = ScriptedManager::new();
    let first = runtime();
    let mut loans: Vec<Loan> = first.block_on(async {
        let pool = Pool::builder(manager.clone()).build().unwrap();
        vec![
            pool.acquire().await.unwrap(),
            pool.acquire().await.unwrap(),
            pool.acquire().await.unwrap(),
        ]
    });
    drop(first);
    drop(loans.pop());
    Lease::discard(loans.remove(0), CloseReason::Discarded);
    drop(Lease::detach(loans.remove(0)));
    assert_eq!(manager.alive(), 0);
}

#[test]
fn an_acquire_may_be_dropped_after_its_runtime() {
    let manager = ScriptedManager::new();
    let pool = Pool::builder(manager.clone()).pool_size(1).max_overflow(0).build().unwrap();
    let first = runtime();
    let (lease, waiting) = first.block_on(async {
        let lease = pool.acquire().await.unwrap();
        let mut waiting = ByHand::new(pool.acquire());
        assert!(waiting.poll().is_pending());
        (lease, waiting)
    });
    drop(first);
    drop((waiting, lease));
    runtime().block_on(async { drop(pool.acquire().await.unwrap()) });
    assert_eq!(pool.status().totals.cancelled, 1);
}

#[test]
fn a_pool_may_be_dropped_outside_any_runtime() {
    let manager = ScriptedManager::new();
    let pool = Pool::builder(manager.clone()).build().unwrap();
    let first = runtime();
    first.block_on(async { drop(pool.acquire().await.unwrap()) });
    drop(first);
    drop(pool);
    assert_eq!(manager.alive(), 0);
    drop(Pool::builder(manager).build().unwrap());
}

#[test]
fn two_runtimes_side_by_side_share_a_pool() {
    let manager = ScriptedManager::new();
    let pool = Pool::builder(manager.clone()).pool_size(2).max_overflow(0).build().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..500 {
                        let lease = pool.acquire().await.unwrap();
                        tokio::task::yield_now().await;
                        drop(lease);
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(pool.status().totals.succeeded, 2_000);
    assert!(manager.peak() <= 2);
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_paused_time_is_an_hour() {
    let world = World::with(2, 0, |builder| builder.idle_timeout(secs(600)).min_idle(0));
    let lease = world.lease().await;
    sleep(secs(3_500)).await;
    let info = Lease::info(&lease);
    assert!((secs(3_500)..secs(3_501)).contains(&info.age), "{info:?}");
    assert_eq!(world.pool.holders()[0].held.as_secs(), 3_500);
    sleep(secs(200)).await;
    drop(lease);
    settle().await;
    assert_eq!(world.trace.count("closed recycled #1"), 1, "older than pool_recycle");
    drop(world.lease().await);
    sleep(secs(610)).await;
    assert_eq!(world.trace.count("closed idle_too_long #2"), 1);
    let _held = world.leases(2).await;
    let (result, took) = crate::support::timed(world.pool.acquire_within(secs(200))).await;
    assert!(refused(result).is_timeout());
    crate::support::assert_took(took, secs(200));
    assert_eq!(world.pool.status().oldest_waiter, None::<Duration>);
}

/// After two hours by tokio's clock, in jumps, the connection is too old, whichever clock the pool
/// was built under.
async fn two_hours_later_another_connection_is_lent(pool: &Pool) {
    let first = pool.acquire().await.unwrap().id();
    quiet().await;
    advance(secs(2 * 3_600)).await;
    let lease = pool.acquire().await.unwrap();
    assert_ne!(lease.id(), first, "{:?}", Lease::info(&lease));
}

#[test]
fn a_pool_that_was_built_before_the_runtime_ages_by_the_runtimes_clock() {
    let pool = Pool::builder(ScriptedManager::new()).build().unwrap();
    runtime().block_on(two_hours_later_another_connection_is_lent(&pool));
}

#[tokio::test]
async fn a_pool_ages_by_a_clock_that_was_paused_after_it_had_been_used() {
    let world = World::new(1, 0);
    drop(world.lease().await);
    tokio::time::pause();
    two_hours_later_another_connection_is_lent(&world.pool).await;
}

#[test]
fn a_runtime_may_end_at_any_moment_of_a_close() {
    for turns in 0..6 {
        let manager = ScriptedManager::new();
        let builder =
            Pool::builder(manager.clone()).hooks(manager.hooks()).pool_size(1).max_overflow(0);
        let pool = builder.build().unwrap();
        manager.always(Call::Hook(HookPoint::Close), Act::Never);
        let first = runtime();
        first.block_on(async {
            Lease::discard(pool.acquire().await.unwrap(), CloseReason::Interrupted);
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
        drop(first);
        manager.heal();
        let lent = runtime().block_on(pool.acquire_within(secs(5)));
        assert!(lent.is_ok(), "after {turns} turns: {:?}", pool.status());
    }
}
