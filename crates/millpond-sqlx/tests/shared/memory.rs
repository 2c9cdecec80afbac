//! Idle connections do not keep the memory of the largest value that ever went through them.

use crate::support::{LARGE, one, server, until};
use std::fs;

/// What this process has in memory, in MiB.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4 / 1024
}

#[tokio::test]
async fn after_large_values_idle_connections_are_small_again() {
    let Some(server) = server() else { return };
    let pool = one().pool_size(6).connect(&server.url).await.unwrap();
    pool.prewarm(6).await.unwrap();
    let before = resident();
    let mut leases = Vec::new();
    for _ in 0..6 {
        let mut lease = pool.acquire().await.unwrap();
        let value: Vec<u8> = sqlx::query_scalar(LARGE).fetch_one(&mut *lease).await.unwrap();
        assert!(value.len() > 15_000_000);
        leases.push(lease);
    }
    drop(leases);
    // Other tests of this process come and go; what an idle connection holds would stay for an hour.
    until(|| pool.num_idle() == 6 && resident() < before + 60).await;
    assert_eq!(pool.status().totals.created, 6);
}
