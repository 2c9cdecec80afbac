//! After a close nothing is open and nothing is under way, or the report names what is.

use crate::act::{Act, Call};
use crate::conformance::fixture::Fixture;
use crate::conformance::health::CUTS_MAX;
use crate::conformance::pools::PoolUnderTest;
use crate::conformance::stage::{SOON, Stage, Trial, join, ms, refused, secs, timed};
use crate::gate::Gate;
use crate::poll::poll_n;
use millpond_core::{CloseReason, ConnectInfo, Lease, Manager as _, Pool, PoolExt};

/// After a close every acquire is refused.
pub async fn c80_after_close_every_acquire_is_refused<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    drop(world.lease().await);
    assert!(world.pool.close().await.is_clean());
    assert!(refused(world.pool.acquire().await).is_closed());
    assert!(world.pool.try_acquire().is_none());
    assert!(world.pool.status().closed);
    assert_eq!(world.manager.calls(Call::Connect), 1);
}

/// A close fails all waiters at once.
pub async fn c80_close_fails_all_waiters_at_once<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    let waiters = [world.waiter().await, world.waiter().await];
    let pool = world.pool.clone();
    let closing = tokio::spawn(async move { pool.close().await });
    for waiter in waiters {
        assert!(refused(join(waiter).await).is_closed());
    }
    drop(lease);
    assert!(join(closing).await.is_clean());
}

/// A connect under way at a close leaves no connection behind, and its caller gets none.
pub async fn c81_a_connect_under_way_at_close_leaves_nothing_behind<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let gate = Gate::new();
    world.manager.always(Call::Connect, Act::gated(&gate));
    let caller = world.acquiring();
    world.until("it is being opened", || gate.waiting() == 1).await;
    let report = world.pool.close_within(secs(20)).await;
    gate.open();
    assert!(refused(join(caller).await).is_closed());
    assert!(report.is_clean(), "{report}");
    world.until("nothing is open", || world.manager.sockets() == 0).await;
}

/// A close waits until all leases are returned.
pub async fn c82_close_waits_for_borrowers<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    let lease = world.lease().await;
    let pool = world.pool.clone();
    let closing = tokio::spawn(async move { pool.close().await });
    world.until_status("it is closing", |status| status.closed).await;
    assert!(!closing.is_finished());
    drop(lease);
    assert!(join(closing).await.is_clean());
    assert_eq!(world.manager.sockets(), 0);
}

/// A close ends at its time limit and reports the holders.
pub async fn c83_close_ends_at_its_limit_and_names_the_holders<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    let lease = world.pool.acquire().await;
    let line = line!() - 1;
    let (report, took) = timed(world.pool.close_within(SOON)).await;
    world.assert_took(took, SOON);
    assert!(!report.is_clean());
    let holders: Vec<_> = report
        .holders
        .iter()
        .map(|holder| (holder.location.file(), holder.location.line()))
        .collect();
    assert_eq!(holders, [(file!(), line)]);
    drop(lease);
    world.until("nothing is open", || world.manager.sockets() == 0).await;
}

/// Every connection that was opened is closed through the manager.
pub async fn c84_everything_that_was_opened_is_closed<T: Trial>(stage: Stage<T>) {
    let world = stage.world(4, 2);
    for _ in 0..3 {
        drop(world.leases(6).await);
    }
    assert!(world.pool.close().await.is_clean());
    assert_eq!(world.manager.sockets(), 0);
    assert_eq!(world.manager.closed().len(), world.manager.calls(Call::Connect), "each properly");
    let totals = world.pool.status().totals;
    assert_eq!(totals.created, totals.closed);
}

/// A connection that the pool closed, for any reason, is closed at the server.
pub async fn c84_a_closed_connection_is_closed_at_the_server<T: Trial>(stage: Stage<T>) {
    let before = open_at_server(&stage).await;
    let world = stage.world(2, 1);
    let leases = world.leases(3).await;
    // The server may count a connection later than its client.
    let mut counted = 0;
    for _ in 0..2_000 {
        counted = open_at_server(&stage).await;
        if counted == before + 3 {
            break;
        }
        tokio::time::sleep(ms(5)).await;
    }
    assert_eq!(counted, before + 3, "the server does not count what is lent");
    for lease in leases {
        Lease::discard(lease, CloseReason::Discarded);
    }
    assert!(falls_to(&stage, before).await, "what was discarded is open at the server");
    drop(Lease::detach(world.lease().await));
    assert!(falls_to(&stage, before).await, "what was detached and dropped is open at the server");
    drop(world.leases(3).await);
    assert!(world.pool.close().await.is_clean());
    assert!(
        falls_to(&stage, before).await,
        "the pool is closed, and its connections are open at the server"
    );
}

/// A connect that is dropped at any poll leaves no connection open at the server.
pub async fn c84_a_dropped_connect_leaves_no_connection_open_at_the_server<T: Trial>(
    stage: Stage<T>,
) {
    let (manager, before) = (stage.real(), open_at_server(&stage).await);
    let info = ConnectInfo::first("conformance", secs(20));
    let mut is_open = false;
    for polls in 0..CUTS_MAX {
        match poll_n(manager.connect(&info), polls).await {
            None => {}
            Some(Ok(conn)) => {
                is_open = true;
                let _ = manager.close(conn).await;
                break;
            }
            Some(Err(error)) => panic!("poll {polls}: nothing was opened: {error}"),
        }
    }
    assert!(is_open, "`connect` does not end");
    assert!(falls_to(&stage, before).await, "what was cut off is open at the server");
}

async fn open_at_server<T: Trial>(stage: &Stage<T>) -> usize {
    match stage.fixture.open_at_server().await {
        Ok(open) => open,
        Err(error) => panic!("the server could not be asked what is open: {error}"),
    }
}

/// Returns true once the server has at most this many connections open; false after 10 seconds.
async fn falls_to<T: Trial>(stage: &Stage<T>, most: usize) -> bool {
    for _ in 0..2_000 {
        if open_at_server(stage).await <= most {
            return true;
        }
        tokio::time::sleep(ms(5)).await;
    }
    false
}

/// No call reopens a closed pool.
pub async fn c85_a_closed_pool_cannot_be_resized_or_opened_again<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    drop(world.lease().await);
    let _ = world.pool.close().await;
    let _ = world.queue().resize(5, 5);
    world.queue().resume();
    world.pool.invalidate_all(millpond_core::Invalidate::Soft);
    assert!(refused(world.pool.acquire().await).is_closed());
    assert_eq!((world.manager.sockets(), world.pool.status().limit()), (0, 2));
}

/// Concurrent calls of `close` all return the same report.
pub async fn c86_several_may_close_at_once<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    let lease = world.lease().await;
    let closings: Vec<_> = (0..3)
        .map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move { pool.close().await.is_clean() })
        })
        .collect();
    world.until_status("it is closing", |status| status.closed).await;
    drop(lease);
    for closing in closings {
        assert!(join(closing).await);
    }
}

/// A close ends although connects fail.
pub async fn c87_close_ends_while_connects_fail<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    let caller = world.acquiring();
    world.until("it has been tried", || world.manager.calls(Call::Connect) >= 2).await;
    let (report, took) = timed(world.pool.close_within(secs(20))).await;
    assert!(report.is_clean() && took <= secs(15), "{report} {took:?}");
    assert!(refused(join(caller).await).is_closed());
    let tried = world.manager.calls(Call::Connect);
    tokio::time::sleep(ms(300)).await;
    assert_eq!(world.manager.calls(Call::Connect), tried, "it goes on connecting");
}
