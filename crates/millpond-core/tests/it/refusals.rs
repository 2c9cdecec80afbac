//! A checkout hook may refuse the request instead of the connection.

use crate::support::{World, ms, quiet, refused, settle, timed};
use millpond_core::{AcquireFailure, BoxError, HookPoint, NullPool, PoolError, RequestRefusal};
use millpond_testkit::{Call, ScriptedConnection, ScriptedManager, Trace};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Debug, PartialEq)]
struct Suspended(u64);

impl fmt::Display for Suspended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenant {} is suspended", self.0)
    }
}

impl Error for Suspended {}

/// What a hook refuses while the switch is on.
fn suspended(switch: &AtomicBool) -> Result<(), BoxError> {
    if switch.load(Ordering::SeqCst) {
        Err(RequestRefusal::new(Suspended(7)).into())
    } else {
        Ok(())
    }
}

fn switch() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(true));
    (Arc::clone(&switch), switch)
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_gets_the_hooks_own_error_and_the_connection_stays() {
    let (on, inside) = switch();
    let world = World::with(3, 0, |builder| {
        builder.on_checkout(move |_, _| {
            let answer = suspended(&inside);
            Box::pin(async { answer })
        })
    });
    for _ in 0..10 {
        let (result, took) = timed(world.pool.acquire()).await;
        let error = refused(result);
        assert!(took < ms(10), "{took:?}");
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            ("tenant 7 is suspended", AcquireFailure::RequestRefused)
        );
        let PoolError::RequestRefused(refusal) = &error else { panic!("{error:?}") };
        assert_eq!(refusal.get_ref().downcast_ref(), Some(&Suspended(7)));
        assert!(error.source().unwrap().is::<Suspended>());
    }
    settle().await;
    assert_eq!(
        (world.manager.alive(), world.manager.calls(Call::Connect)),
        (1, 1),
        "{:?}",
        world.trace.lines()
    );
    assert_eq!(
        (world.trace.count("hook failed"), world.trace.count("acquire failed request_refused")),
        (0, 10)
    );
    let totals = world.pool.status().totals;
    assert_eq!((totals.failed, totals.succeeded), (10, 0));
    on.store(false, Ordering::SeqCst);
    world.assert_sound().await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_connection_of_a_refused_request() {
    let (on, inside) = switch();
    let world = World::with(1, 0, |builder| {
        builder.on_checkout(move |_, _| {
            let answer = suspended(&inside);
            inside.store(false, Ordering::SeqCst);
            Box::pin(async { answer })
        })
    });
    on.store(false, Ordering::SeqCst);
    let lease = world.lease().await;
    let (first, second) = (tokio::spawn(world.pool.acquire()), tokio::spawn(world.pool.acquire()));
    quiet().await;
    on.store(true, Ordering::SeqCst);
    drop(lease);
    assert!(matches!(first.await.unwrap(), Err(PoolError::RequestRefused(_))));
    assert_eq!(second.await.unwrap().unwrap().id(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_hooks_did_before_the_request_was_refused_is_reset() {
    let (on, inside) = switch();
    let world = World::with(1, 0, |builder| {
        builder.on_checkout(move |conn: &mut ScriptedConnection, _| {
            let answer = suspended(&inside);
            conn.set_dirty(answer.is_err());
            Box::pin(async { answer })
        })
    });
    refused(world.pool.acquire().await);
    settle().await;
    assert_eq!(world.manager.calls(Call::Reset), 1);
    on.store(false, Ordering::SeqCst);
    assert_eq!(world.lease().await.id(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_keeps_nothing_closes_the_connection_of_a_refused_request() {
    let (manager, trace) = (ScriptedManager::new(), Trace::new());
    let pool = NullPool::builder(manager.clone())
        .observer(trace.clone())
        .on_checkout(|_, _| Box::pin(async { Err(RequestRefusal::new(Suspended(7)).into()) }));
    let pool = pool.build().unwrap();
    assert!(matches!(pool.acquire().await, Err(PoolError::RequestRefused(_))));
    settle().await;
    assert_eq!(
        (manager.alive(), trace.count("closed not_pooled #1"), pool.status().open),
        (0, 1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn at_any_other_moment_it_is_a_refusal_of_the_connection() {
    for point in [HookPoint::Connect, HookPoint::Checkin] {
        let (on, inside) = switch();
        let world = World::with(1, 0, |builder| {
            let hook = move || {
                let answer = suspended(&inside);
                inside.store(false, Ordering::SeqCst);
                answer
            };
            if point == HookPoint::Connect {
                builder.on_connect(move |_, _| {
                    let answer = hook();
                    Box::pin(async { answer })
                })
            } else {
                builder.on_checkin(move |_, _| {
                    let answer = hook();
                    Box::pin(async { answer })
                })
            }
        });
        drop(world.lease().await);
        settle().await;
        assert_eq!(world.lease().await.id(), 2);
        assert_eq!(world.trace.count(&format!("hook failed {point} #1")), 1);
        assert!(!on.load(Ordering::SeqCst));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_before_it_refuses_is_cut_off_like_any_other() {
    let world = World::with(1, 0, |builder| {
        builder.hook_timeout(ms(50)).pool_timeout(Duration::from_secs(1)).on_checkout(|_, info| {
            let first = info.id.get() == 1;
            Box::pin(async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Err(RequestRefusal::new(Suspended(info.id.get())).into())
            })
        })
    });
    let error = refused(world.pool.acquire().await);
    assert_eq!(error.to_string(), "tenant 2 is suspended");
}
