//! Idle connections do not keep the memory of the largest value that they transferred.

use crate::backend::{Db, LENGTH};
use crate::support::{LARGE, one, server, until};
use millpond_sqlx::SqlLease;
use peak_alloc::PeakAlloc;
use sqlx::{AssertSqlSafe, Row};
use tokio::sync::Mutex;

/// Counts allocated memory. The system's count would include memory that the allocator keeps for
/// reuse.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SIZE: usize = 36 << 20;

/// Asserts that six idle connections are small again after `large` ran on each of them.
async fn stay_small_after(large: impl AsyncFn(&mut SqlLease<Db>)) {
    // Memory of one test would be counted in another one.
    static TURN: Mutex<()> = Mutex::const_new(());
    let _turn = TURN.lock().await;
    let Some(server) = server() else { return };
    server.allow_large_packets().await;
    let pool = one().pool_size(6).connect(&server.url).await.unwrap();
    pool.prewarm(6).await.unwrap();
    let before = MEMORY.current_usage();
    let mut leases = Vec::new();
    for _ in 0..6 {
        let mut lease = pool.acquire().await.unwrap();
        large(&mut lease).await;
        leases.push(lease);
    }
    drop(leases);
    // Other tests of this process allocate and free memory, but memory of an idle connection would
    // stay for an hour.
    until(|| pool.num_idle() == 6 && MEMORY.current_usage() < before + (64 << 20)).await;
    assert_eq!(pool.status().totals.created, 6);
}

#[tokio::test]
async fn after_large_values_idle_connections_are_small_again() {
    stay_small_after(async |lease| {
        let value: Vec<u8> = sqlx::query_scalar(LARGE).fetch_one(&mut **lease).await.unwrap();
        assert!(value.len() > 15_000_000);
    })
    .await;
}

#[tokio::test]
async fn after_large_arguments_idle_connections_are_small_again() {
    stay_small_after(async |lease| {
        let query = sqlx::query(LENGTH).bind(vec![b'x'; SIZE]);
        let length = query.fetch_one(&mut **lease).await.unwrap();
        assert_eq!(length.get::<i64, _>(0), SIZE as i64);
    })
    .await;
}

#[tokio::test]
async fn after_a_large_text_idle_connections_are_small_again() {
    stay_small_after(async |lease| {
        let text = format!("SELECT '{}' IS NULL", "x".repeat(SIZE));
        sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **lease).await.unwrap();
    })
    .await;
}
