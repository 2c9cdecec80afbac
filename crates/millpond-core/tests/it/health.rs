//! Whether a pool serves, from its own counts: no connection, no wait.

use crate::support::{World, ms, secs};
use millpond_core::Verdict;
use millpond_testkit::{Act, Call};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_thousand_probes_of_a_pool_in_full_use_say_busy_and_take_no_slot() {
    let world = World::with(2, 0, |builder| builder);
    let leases = [world.pool.acquire().await.unwrap(), world.pool.acquire().await.unwrap()];
    let before = (world.pool.status(), world.manager.calls(Call::Ping));
    for _ in 0..1_000 {
        assert_eq!(world.pool.health().verdict, Verdict::Busy);
    }
    assert_eq!((world.pool.status(), world.manager.calls(Call::Ping)), before);
    drop(leases);
    assert_eq!(world.pool.health().verdict, Verdict::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_opened_nothing_is_unverified_and_one_that_opened_a_connection_is_ready() {
    let world = World::with(2, 0, |builder| builder);
    let health = world.pool.health();
    assert_eq!((health.verdict, health.last_success), (Verdict::Unverified, None));
    drop(world.pool.acquire().await.unwrap());
    sleep(secs(3)).await;
    let health = world.pool.health();
    assert_eq!((health.verdict, health.last_success), (Verdict::Ready, Some(secs(3))));
}

#[tokio::test(start_paused = true)]
async fn a_pool_without_connections_that_cannot_open_one_is_down_with_its_cause() {
    let world = World::with(2, 0, |builder| builder.pool_timeout(secs(5)));
    world.manager.always(Call::Connect, Act::transient("connection refused"));
    assert!(world.pool.acquire().await.is_err());
    let health = world.pool.health();
    assert_eq!(health.verdict, Verdict::Down);
    assert!(health.since.unwrap() >= secs(4), "{health}");
    assert!(health.to_string().ends_with(": connection refused"), "{health}");
    assert!(!health.is_serving());
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_can_open_no_more_is_busy_while_one_connection_is_lent() {
    let world = World::with(2, 0, |builder| builder.pool_timeout(secs(5)));
    let lease = world.pool.acquire().await.unwrap();
    world.manager.always(Call::Connect, Act::transient("too many connections"));
    assert!(world.pool.acquire().await.is_err());
    assert_eq!(world.pool.health().verdict, Verdict::Busy, "its borrower may bring it back");
    drop(lease);
    assert_eq!(world.pool.health().verdict, Verdict::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_caller_is_seen_with_the_time_of_its_wait() {
    let world = World::with(1, 0, |builder| builder);
    let lease = world.pool.acquire().await.unwrap();
    let waiter = tokio::spawn(world.pool.acquire());
    sleep(ms(700)).await;
    let health = world.pool.health();
    assert_eq!((health.verdict, health.oldest_wait), (Verdict::Busy, Some(ms(700))));
    drop(lease);
    assert!(waiter.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_and_a_closed_pool_say_so() {
    let world = World::with(1, 0, |builder| builder);
    drop(world.pool.acquire().await.unwrap());
    world.pool.suspend();
    assert_eq!(world.pool.health().verdict, Verdict::Suspended);
    world.pool.resume();
    assert_eq!(world.pool.health().verdict, Verdict::Ready);
    assert!(world.pool.close().await.is_clean());
    assert_eq!(world.pool.health().verdict, Verdict::Closed);
}
