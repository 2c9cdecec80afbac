//! `SharedPool`: loans that are too long, and connections that are opened before they are needed.

use crate::support::{Links, ms, pool_of, secs, timed, warm};
use millpond_core::{Event, Invalidate};
use millpond_shared::SharedPool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_loan_longer_than_leak_after_is_reported_once_with_its_line() {
    let (pool, _, trace) = pool_of(1, |builder| builder.leak_after(secs(5)));
    let line = line!() + 1;
    let long = pool.acquire().await.unwrap();
    sleep(secs(1)).await;
    let later = pool.acquire().await.unwrap();
    drop(pool.acquire().await.unwrap());
    sleep(ms(4_100)).await;
    let leaks = || {
        let leak = |event| {
            if let Event::Leaked { location, held, .. } = event {
                Some((location, held))
            } else {
                None
            }
        };
        trace.events().into_iter().filter_map(|(_, event)| leak(event)).collect::<Vec<_>>()
    };
    let [(location, held)] = leaks()[..] else { panic!("{:?}", leaks()) };
    assert_eq!((location.file(), location.line()), (file!(), line));
    assert!(held >= secs(5) && held <= secs(5) + ms(200), "{held:?}");
    sleep(secs(1)).await;
    assert_eq!(leaks().len(), 2, "the other holder, and none twice");
    sleep(secs(20)).await;
    assert_eq!(leaks().len(), 2);
    drop((long, later));
    let again = pool.acquire().await.unwrap();
    sleep(secs(6)).await;
    assert_eq!(leaks().len(), 3);
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn a_connection_lent_for_longer_than_max_lease_is_removed_on_return() {
    let (pool, server, trace) = pool_of(1, |builder| builder.max_lease(secs(5)));
    let long = pool.acquire().await.unwrap();
    sleep(secs(6)).await;
    assert_eq!(trace.count("leaked"), 1, "its holder is reported");
    let other = pool.acquire().await.unwrap();
    assert_eq!(other.0, 1, "it serves on until then");
    drop(long);
    assert_eq!(pool.acquire().await.unwrap().0, 2);
    assert_eq!(server.alive(), 2, "a borrower still has a clone of the old connection");
    drop(other);
    sleep(ms(10)).await;
    assert_eq!((server.alive(), trace.count("closed overdue #1")), (1, 1), "{:?}", trace.lines());
}

#[tokio::test(start_paused = true)]
async fn min_idle_connections_are_ready_before_the_first_acquire_and_after_a_loss() {
    let (pool, server, _) = pool_of(3, |builder| builder.min_idle(2).runtime(Handle::current()));
    sleep(ms(50)).await;
    assert_eq!((pool.status().idle, server.connects.load(Ordering::Relaxed)), (2, 2));
    for _ in 0..2 {
        let (lease, took) = timed(pool.acquire()).await;
        assert!(lease.is_ok() && took == Duration::ZERO, "{took:?}");
        sleep(ms(50)).await;
        pool.invalidate_all(Invalidate::Soft);
        drop(lease);
        sleep(ms(50)).await;
        assert!(pool.status().idle >= 2, "{:?}", pool.status());
    }
}

#[tokio::test(start_paused = true)]
async fn with_min_idle_no_more_than_pool_size_connections_are_open() {
    let (pool, server, _) = pool_of(3, |builder| builder.min_idle(3));
    warm_all(&pool).await;
    assert_eq!((server.connects.load(Ordering::Relaxed), pool.status().open), (3, 3));
    sleep(secs(60)).await;
    assert_eq!(pool.status().open, 3);
}

async fn warm_all(pool: &SharedPool<Links>) {
    drop(pool.acquire().await.unwrap());
    sleep(ms(50)).await;
    warm(pool, 3).await;
}
