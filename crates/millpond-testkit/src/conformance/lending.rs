//! Lending and returning: what is opened, what is lent again, and where a lease may be dropped.

use crate::act::Call;
use crate::conformance::stage::{Stage, Trial, assert_books, join};
use millpond_core::{CloseReason, Lease, Pool, PoolExt};

/// A pool opens nothing before the first acquire unless `min_idle` is set.
pub async fn c01_nothing_is_opened_before_the_first_acquire<T: Trial>(stage: Stage<T>) {
    let world = stage.world(5, 5);
    assert!(world.pool.try_acquire().is_none());
    tokio::task::yield_now().await;
    assert_eq!((world.manager.sockets(), world.pool.status().open), (0, 0));
    drop(world.lease().await);
    assert_eq!(world.manager.calls(Call::Connect), 1);
}

/// A returned connection is lent again.
pub async fn c02_a_returned_connection_is_lent_again<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    for _ in 0..20 {
        assert_eq!(world.lease().await.id(), 1);
    }
    assert_eq!(world.manager.calls(Call::Connect), 1);
}

/// A pool that keeps no connections opens one for every loan; a pool that keeps them does not.
pub async fn c02_a_connection_that_the_pool_does_not_keep_is_closed<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    drop(world.leases(2).await);
    world.until_calm().await;
    let kept = T::reuses();
    world.until("kept or closed", || world.manager.sockets() == if kept { 2 } else { 0 }).await;
    assert_eq!(world.trace.count("closed not_pooled"), if kept { 0 } else { 2 });
}

/// The counts of the status add up at every step.
pub async fn c03_the_status_shows_every_step<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 1);
    let mut loans = Vec::new();
    for lent in 1..=3_u32 {
        loans.push(world.lease().await);
        let status = world.pool.status();
        assert_eq!(
            (status.in_use, status.open, status.overflow()),
            (lent, lent, lent.saturating_sub(2))
        );
        assert_books(&status);
    }
    for left in [2, 1, 0] {
        drop(loans.pop());
        assert_books(&world.pool.status());
        world.until_calm().await;
        let status = world.pool.status();
        assert_eq!((status.in_use, status.idle + status.in_use), (left, status.open));
        assert_books(&status);
    }
}

/// A hundred tasks are served by three connections.
pub async fn c04_a_crowd_is_served_by_few_connections<T: Trial>(stage: Stage<T>) {
    let world = stage.world(3, 0);
    let users = (0..100).map(|_| {
        let pool = world.pool.clone();
        tokio::spawn(async move {
            for _ in 0..3 {
                let lease = pool.acquire().await;
                tokio::task::yield_now().await;
                drop(lease.unwrap_or_else(|error| panic!("not served: {error}")));
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        join(user).await;
    }
    assert_eq!(world.pool.status().totals.succeeded, 300);
    assert!(world.manager.peak() <= 3, "{} sockets", world.manager.peak());
    world.assert_sound().await;
}

/// Dropping the last handle closes the idle connections.
pub async fn c06_dropping_the_pool_closes_what_is_idle<T: Trial>(stage: Stage<T>) {
    let world = stage.world(3, 0);
    drop(world.leases(3).await);
    let (manager, other) = (world.manager.clone(), stage.world(1, 0));
    drop(world);
    other.until("nothing is open", || manager.sockets() == 0).await;
}

/// A lease stays usable after its pool is dropped.
pub async fn c07_a_lease_outlives_its_pool<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    let lease = world.lease().await;
    let (manager, other) = (world.manager.clone(), stage.world(1, 0));
    drop(world);
    tokio::task::yield_now().await;
    assert!(manager.sockets() >= 1, "it was closed under its borrower");
    drop(lease);
    other.until("nothing is open", || manager.sockets() == 0).await;
}

/// A lease can be dropped outside a runtime.
pub async fn c08_a_lease_may_be_dropped_on_a_plain_thread<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    let thread = std::thread::spawn(move || drop(lease));
    world.until("the thread has ended", || thread.is_finished()).await;
    assert!(thread.join().is_ok(), "dropping a lease outside a runtime panicked");
    world.assert_sound().await;
}

/// A runtime that shuts down may drop a task with its lease.
pub async fn c09_a_lease_may_be_dropped_while_a_runtime_shuts_down<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    let thread = std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
            return false;
        };
        let task = runtime.spawn(async move {
            let _lease = lease;
            std::future::pending::<()>().await;
        });
        drop(runtime);
        task.is_finished()
    });
    world.until("the thread has ended", || thread.is_finished()).await;
    assert!(
        matches!(thread.join(), Ok(true)),
        "dropping a lease in a runtime that shuts down panicked"
    );
    world.assert_sound().await;
}

/// A detached connection belongs to the borrower, and its slot is free at once.
pub async fn c10_a_detached_connection_is_the_borrowers_and_its_slot_is_free<T: Trial>(
    stage: Stage<T>,
) {
    let world = stage.world(1, 0);
    let mine = Lease::detach(world.lease().await);
    let lease = world.lease().await;
    assert_ne!(lease.id(), mine.id());
    drop(lease);
    world.until_calm().await;
    let status = world.pool.status();
    assert_eq!(status.totals.detached, 1);
    assert_books(&status);
    let _ = world.pool.close().await;
    assert_eq!(world.manager.alive(), 1, "not the pool's to close");
    drop(mine);
    assert_eq!(world.manager.alive(), 0);
}

/// A discarded connection is closed for the given reason and not lent again.
pub async fn c11_a_discarded_connection_is_not_lent_again<T: Trial>(stage: Stage<T>) {
    let world = stage.world(1, 0);
    let lease = world.lease().await;
    Lease::discard(lease, CloseReason::Discarded);
    assert_ne!(world.lease().await.id(), 1);
    world.until("it is closed", || world.trace.count("closed discarded #1") == 1).await;
    world.assert_sound().await;
}

/// A panicking borrower costs at most one connection.
pub async fn c12_a_panicking_borrower_costs_one_connection_at_most<T: Trial>(stage: Stage<T>) {
    let world = stage.world(2, 0);
    let pool = world.pool.clone();
    let task = tokio::spawn(async move {
        let _lease = pool.acquire().await;
        // Skips the panic hook, whose report would clutter the output.
        std::panic::resume_unwind(Box::new("a borrower's panic"));
    });
    assert!(task.await.is_err_and(|error| error.is_panic()));
    world.assert_sound().await;
    assert!(world.manager.calls(Call::Connect) <= 3 || !T::reuses());
}
