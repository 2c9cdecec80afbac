//! The script on a real server, by a clock of our own.

use super::*;
use millpond_redis::{Command, SharedRedisPool, SharedRedisPoolOptions};

const CLOCK_OF_THE_TEST: &str = "
local now = tonumber(ARGV[#ARGV])
";

const START: u64 = 1_764_000_000_000_000;
const MINUTE: u64 = 60_000_000;

async fn server() -> Option<SharedRedisPool> {
    let Ok(url) = std::env::var("MILLPOND_TEST_REDIS_URL") else {
        println!("SKIP a test against a real server: no MILLPOND_TEST_REDIS_URL");
        return None;
    };
    Some(SharedRedisPoolOptions::new().connect(&url).await.unwrap())
}

/// Asks for one place of two, at a moment. Whether it was granted, how many there are, and after
/// how long one is free.
async fn take(
    pool: &SharedRedisPool,
    key: &str,
    lease: &str,
    expiry: u64,
    now: u64,
) -> (u32, u32, u64) {
    let script = Script::new([CLOCK_OF_THE_TEST, TAKE].concat());
    let args = [format!("{lease}:{expiry}"), expiry.to_string(), "2".to_owned(), now.to_string()];
    script.call([key], args).run(pool).await.unwrap()
}

#[tokio::test]
async fn a_clock_that_goes_back_keeps_no_lease_for_longer_than_its_time() {
    let Some(pool) = server().await else { return };
    let key = format!("back:{:x}", fastrand::u64(..));
    assert_eq!(take(&pool, &key, "a", MINUTE, START).await, (1, 1, MINUTE));
    assert_eq!(take(&pool, &key, "b", MINUTE, START).await, (1, 2, MINUTE));
    let hour_ago = START - 60 * MINUTE;
    assert_eq!(take(&pool, &key, "c", MINUTE, hour_ago).await, (0, 2, MINUTE));
    assert_eq!(take(&pool, &key, "c", MINUTE, hour_ago + MINUTE - 1).await, (0, 2, 1));
    assert_eq!(take(&pool, &key, "c", MINUTE, hour_ago + MINUTE).await, (1, 1, MINUTE));
}

#[tokio::test]
async fn a_limiter_with_a_shorter_expiry_leaves_longer_leases_alone() {
    let Some(pool) = server().await else { return };
    let key = format!("mixed:{:x}", fastrand::u64(..));
    assert_eq!(take(&pool, &key, "long", 60 * MINUTE, START).await, (1, 1, 60 * MINUTE));
    assert_eq!(take(&pool, &key, "short", MINUTE, START).await, (1, 2, MINUTE));
    assert_eq!(take(&pool, &key, "more", MINUTE, START + MINUTE).await, (1, 2, MINUTE));
    let left: Vec<String> =
        pool.run(Command::new("ZRANGE").key(&key).arg(0).arg(-1)).await.unwrap();
    assert!(left.iter().any(|lease| lease.starts_with("long")), "{left:?}");
}
