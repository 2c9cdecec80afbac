//! Hooks run in order and once, and a connection that a hook refuses is not lent.

use crate::act::{Act, Call};
use crate::conformance::stage::{SOON, Stage, Trial, refused, secs, timed};
use millpond_core::{CloseReason, HookPoint, Lease, Pool, PoolError, PoolExt, RequestRefusal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A connection's hooks run in the order of its life: first connect, connect, checkout, checkin,
/// close.
pub async fn c70_a_connection_meets_its_hooks_in_the_order_of_its_life<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(1, 0, |builder, manager| builder.hooks(manager.hooks()));
    drop(world.lease().await);
    world.until_calm().await;
    if T::reuses() {
        drop(world.lease().await);
        world.until_calm().await;
    }
    let _ = world.pool.close().await;
    let story = world.manager.story(1);
    let story: Vec<&str> =
        story.split(' ').filter(|call| !["triage", "reset", "ping"].contains(call)).collect();
    let opening = ["connect", "on_first_connect", "on_connect"];
    let loan = ["on_checkout", "on_checkin"];
    let end = ["on_close", "close"];
    let expected: Vec<&str> = if T::reuses() {
        [&opening[..], &loan, &loan, &end].concat()
    } else {
        // A pool that keeps no connections runs no checkin hooks.
        [&opening[..], &loan[..1], &end].concat()
    };
    assert_eq!(story, expected);
}

/// A connection refused at `on_connect` is closed, and another one is opened.
pub async fn c72_a_connection_refused_at_on_connect_is_not_lent<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(1, 0, |builder, manager| builder.hooks(manager.hooks()));
    world.manager.next(Call::Hook(HookPoint::Connect), [Act::transient("not this one")]);
    assert_eq!(world.lease().await.id(), 2);
    assert_eq!(world.trace.count("hook failed on_connect #1"), 1);
    world.until("it is closed", || world.manager.sockets() <= 1).await;
}

/// A connection refused at checkout is closed, and another one is lent.
pub async fn c72_a_connection_refused_at_checkout_is_not_lent<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(1, 0, |builder, manager| builder.hooks(manager.hooks()));
    world.manager.next(Call::Hook(HookPoint::Checkout), [Act::transient("not this one")]);
    assert_eq!(world.lease().await.id(), 2);
    world.until("it is closed", || world.trace.count("closed refused_by_hook #1") == 1).await;
}

/// A request refused at checkout gets the hook's error, and the connection is lent to the next one.
pub async fn c72_a_request_refused_at_checkout_costs_no_connection<T: Trial>(stage: Stage<T>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let inside = Arc::clone(&refuses);
    let world = stage.tuned(1, 0, |builder, _| {
        builder.on_checkout(move |_, _| {
            let refuses = inside.load(Ordering::SeqCst);
            Box::pin(async move {
                if refuses {
                    Err(RequestRefusal::new("the tenant is suspended").into())
                } else {
                    Ok(())
                }
            })
        })
    });
    for _ in 0..4 {
        let error = refused(world.pool.acquire().await);
        assert!(matches!(error, PoolError::RequestRefused(_)), "{error:?}");
        assert_eq!(error.to_string(), "the tenant is suspended");
    }
    refuses.store(false, Ordering::SeqCst);
    if T::reuses() {
        assert_eq!(world.lease().await.id(), 1);
    }
    world.assert_sound().await;
}

/// A connection refused at checkin is closed.
pub async fn c72_a_connection_refused_at_checkin_is_not_lent_again<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(1, 0, |builder, manager| builder.hooks(manager.hooks()));
    world.manager.next(Call::Hook(HookPoint::Checkin), [Act::transient("not again")]);
    drop(world.lease().await);
    assert_eq!(world.lease().await.id(), 2);
    assert_eq!(world.trace.count("closed refused_by_hook #1"), 1);
}

/// A hook that exceeds `hook_timeout` refuses the connection.
pub async fn c73_a_hook_that_hangs_is_a_refusal_at_hook_timeout<T: Trial>(stage: Stage<T>) {
    for point in [HookPoint::FirstConnect, HookPoint::Connect, HookPoint::Checkout] {
        let world =
            stage.tuned(1, 0, |builder, manager| builder.hooks(manager.hooks()).hook_timeout(SOON));
        world.manager.next(Call::Hook(point), [Act::Never]);
        let (lease, took) = timed(world.pool.acquire()).await;
        drop(lease.unwrap_or_else(|error| panic!("{point}: {error}")));
        assert!(took >= SOON, "{point}: it cannot have been waited for");
        assert_eq!(world.trace.count(&format!("hook failed {point} #1")), 1);
        assert!(world.pool.close_within(secs(20)).await.is_clean());
    }
}

/// Several hooks run in the order of registration; the first refusal stops them.
pub async fn c74_several_hooks_run_in_order_and_the_first_refusal_stops_them<T: Trial>(
    stage: Stage<T>,
) {
    let words = Arc::new(Mutex::new(Vec::new()));
    let (before, after) = (Arc::clone(&words), Arc::clone(&words));
    let world = stage.tuned(1, 0, |builder, manager| {
        let builder = builder.on_connect(move |conn, _| {
            before.lock().unwrap_or_else(PoisonError::into_inner).push(("before", conn.id()));
            Box::pin(async { Ok(()) })
        });
        builder.hooks(manager.hooks_at(HookPoint::Connect)).on_connect(move |conn, _| {
            after.lock().unwrap_or_else(PoisonError::into_inner).push(("after", conn.id()));
            Box::pin(async { Ok(()) })
        })
    });
    world.manager.next(Call::Hook(HookPoint::Connect), [Act::transient("not this one")]);
    drop(world.lease().await);
    let words = words.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(words, [("before", 1), ("before", 2), ("after", 2)]);
}

/// A hook gets the connection's id and how many times it has been lent.
pub async fn c75_a_hook_sees_which_connection_it_is<T: Trial>(stage: Stage<T>) {
    let reported = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&reported);
    let world = stage.tuned(1, 0, |builder, _| {
        builder.name("ponds").on_checkout(move |_, info| {
            let line = (info.pool.to_string(), info.id.get(), info.uses, info.generation);
            notes.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            Box::pin(async { Ok(()) })
        })
    });
    for _ in 0..2 {
        drop(world.lease().await);
    }
    let reported = reported.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(reported, [("ponds".to_owned(), 1, 1, 0), ("ponds".to_owned(), 1, 2, 0)]);
}

/// Every connection that joins the pool runs `on_connect` once, and `on_close` once before it is
/// closed.
pub async fn c77_every_connection_is_opened_once_and_closed_once<T: Trial>(stage: Stage<T>) {
    let world = stage.tuned(3, 2, |builder, manager| builder.hooks(manager.hooks()));
    for round in 0..6 {
        for (n, lease) in world.leases(5).await.into_iter().enumerate() {
            if (n + round) % 3 == 0 {
                Lease::discard(lease, CloseReason::Discarded);
            } else {
                drop(lease);
            }
        }
    }
    assert!(world.pool.close().await.is_clean());
    world.until("nothing is open", || world.manager.sockets() == 0).await;
    let opened = world.manager.calls(Call::Connect);
    for id in 1..=opened as u64 {
        let story = world.manager.story(id);
        for call in ["connect", "on_connect", "on_close", "close"] {
            assert_eq!(
                story.split(' ').filter(|reported| *reported == call).count(),
                1,
                "{call} of #{id}: {story}"
            );
        }
    }
    assert_eq!(world.manager.closed().len() + world.manager.dropped().len(), opened);
}
