//! The counts add up, no memory is leaked, and errors name their causes.

use crate::act::{Act, Call};
use crate::conformance::stage::{SOON, Stage, Trial, assert_books, join, refused, secs, timed};
use crate::poll::poll_n;
use millpond_core::{CloseReason, Lease, Pool, PoolError, PoolExt, Totals};
use std::error::Error;
use std::sync::Arc;

/// After any mix of operations and failures all slots are free again and the counts add up.
pub async fn c90_after_any_mix_of_operations_and_faults_the_books_balance<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.tuned(3, 2, |builder, manager| {
        builder
            .hooks(manager.hooks())
            .pre_ping_idle(SOON / 1000)
            .ping_timeout(SOON)
            .hook_timeout(SOON)
    });
    let mut dice = fastrand::Rng::with_seed(90);
    let calls = [Call::Connect, Call::Ping, Call::Triage, Call::Reset, Call::Close];
    for _ in 0..30 {
        let act = [Act::transient("scripted"), Act::Panic, Act::broken("scripted")]
            [dice.usize(0..3)]
        .clone();
        world.manager.next(calls[dice.usize(0..calls.len())], [act]);
        let users: Vec<_> = (0..8)
            .map(|_| {
                let (pool, action) = (world.pool.clone(), dice.u32(0..6));
                tokio::spawn(async move {
                    let lease = match action {
                        0 => poll_n(pool.acquire(), 1).await,
                        _ => Some(pool.acquire_within(secs(20)).await),
                    };
                    let Some(Ok(mut lease)) = lease else { return };
                    match action {
                        1 => Lease::discard(lease, CloseReason::Interrupted),
                        2 => lease.set_dirty(true),
                        3 => drop(Lease::detach(lease)),
                        _ => tokio::task::yield_now().await,
                    }
                })
            })
            .collect();
        for user in users {
            join(user).await;
            assert_books(&world.pool.status());
        }
    }
    world.manager.heal();
    world.assert_sound().await;
    assert!(world.pool.close().await.is_clean());
    let totals = world.pool.status().totals;
    assert_eq!(totals.created, totals.closed + totals.detached);
    world.until("nothing is open", || world.manager.sockets() == 0).await;
}

/// No total ever decreases.
pub async fn c91_totals_only_ever_grow<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 1);
    let all = |totals: &Totals| {
        let Totals {
            created,
            closed,
            detached,
            connect_failed,
            acquires,
            succeeded,
            timed_out,
            cancelled,
            failed,
            ..
        } = *totals;
        [
            created,
            closed,
            detached,
            connect_failed,
            acquires,
            succeeded,
            timed_out,
            cancelled,
            failed,
        ]
    };
    let mut last = all(&world.pool.status().totals);
    for round in 0..20_usize {
        if round % 5 == 0 {
            world.manager.next(Call::Connect, [Act::transient("scripted")]);
        }
        drop(poll_n(world.pool.acquire(), round % 3).await);
        let lease = world.lease().await;
        if round % 4 == 0 {
            Lease::discard(lease, CloseReason::Discarded);
        }
        let now = all(&world.pool.status().totals);
        assert!(last.iter().zip(&now).all(|(last, now)| last <= now), "{last:?}, then {now:?}");
        last = now;
    }
}

/// A dropped pool frees everything that it held.
pub async fn c92_a_dropped_pool_leaks_no_memory<T: Trial>(stage: Stage<T>) {
    let (token, other) = (Arc::new(()), stage.world(1, 0));
    let held = Arc::clone(&token);
    let world = stage.tuned(2, 0, |builder, _| {
        builder.on_connect(move |_, _| {
            let _held = &held;
            Box::pin(async { Ok(()) })
        })
    });
    drop(world.leases(2).await);
    drop(poll_n(world.pool.acquire(), 1).await);
    drop(world);
    other.until("the pool and its hooks are gone", || Arc::strong_count(&token) == 1).await;
}

/// The error of a timeout names the last connect error.
pub async fn c93_a_timeout_names_the_last_connect_error<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    world.manager.always(Call::Connect, Act::transient("no route to the mill"));
    let error = refused(world.pool.acquire_within(SOON).await);
    assert!(error.is_timeout(), "{error:?}");
    assert!(error.to_string().contains("no route to the mill"), "{error}");
    assert!(
        error.source().is_some_and(|source| source.to_string().contains("no route to the mill")),
        "{error:?}"
    );
}

/// A permanent failure is reported at once; a transient one is retried.
pub async fn c94_a_permanent_failure_is_reported_at_once_and_a_transient_one_is_retried<
    T: Trial,
>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    world.manager.next(Call::Connect, [Act::permanent("wrong password")]);
    let (result, took) = timed(world.pool.acquire_within(secs(20))).await;
    let error = refused(result);
    assert!(
        matches!(error, PoolError::Connect { .. }) && took <= secs(15),
        "{error:?} after {took:?}"
    );
    assert!(error.to_string().contains("wrong password"), "{error}");
    world
        .manager
        .next(Call::Connect, [Act::transient("starting up"), Act::transient("starting up")]);
    drop(world.lease().await);
    world.assert_sound().await;
}
