//! How many acquires in a row get the same connection.

use crate::support::{pool_of, warm};
use millpond_core::{CloseReason, Lease};

/// Returns the connections of this many consecutive acquires.
async fn drawn(acquires_per_turn: u32, acquires: usize) -> Vec<u64> {
    let (pool, _, _) = pool_of(3, |builder| builder);
    warm(&pool, 3).await;
    // The next connection is at the beginning of its turn.
    while pool.acquire().await.unwrap().0 != 3 {}
    pool.set_acquires_per_turn(acquires_per_turn);
    let mut drawn = Vec::new();
    for _ in 0..acquires {
        drawn.push(pool.acquire().await.unwrap().0);
    }
    drawn
}

#[tokio::test(start_paused = true)]
async fn a_turn_has_the_configured_number_of_acquires() {
    assert_eq!(drawn(1, 6).await, [1, 2, 3, 1, 2, 3]);
    assert_eq!(drawn(0, 3).await, [1, 2, 3]);
    assert_eq!(drawn(4, 13).await, [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn when_a_connection_is_removed_during_its_turn_the_next_one_takes_over() {
    let (pool, _, _) = pool_of(2, |builder| builder);
    warm(&pool, 2).await;
    pool.set_acquires_per_turn(8);
    let first = pool.acquire().await.unwrap();
    let (gone, other) = (first.0, 3 - first.0);
    assert_eq!(pool.acquire().await.unwrap().0, gone, "its turn goes on");
    Lease::discard(first, CloseReason::Discarded);
    for _ in 0..3 {
        assert_eq!(pool.acquire().await.unwrap().0, other);
    }
}
