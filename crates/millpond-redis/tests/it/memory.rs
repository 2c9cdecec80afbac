//! What idle connections keep of the memory that large values needed.

use crate::support::{by_each_driver, few, key, set, single};
use millpond_redis::{Command, SharedRedisPoolOptions, Value};
use millpond_testkit::until;
use peak_alloc::PeakAlloc;
use std::time::Duration;
use tokio::sync::Mutex;

/// It counts what is allocated. The system's count would be of what the allocator keeps for reuse,
/// too.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What one of these tests holds, another one would count.
static TURN: Mutex<()> = Mutex::const_new(());

const LARGE: usize = 64 << 20;

#[tokio::test]
async fn idle_connections_do_not_keep_what_a_large_transaction_needed() {
    let Some(url) = single() else { return };
    let _turn = TURN.lock().await;
    for url in by_each_driver(&url) {
        let pool = few(4).command_timeout(Duration::from_secs(60)).connect(&url).await.unwrap();
        let key = key("parts");
        let before = MEMORY.current_usage();
        let mut leases = Vec::new();
        for _ in 0..4 {
            let mut lease = pool.acquire().await.unwrap();
            // Each of them alone is small.
            let parts = (0..64).map(|_| set(&key, vec![b'x'; 1 << 20]));
            lease.transaction::<()>(parts).await.unwrap().unwrap();
            leases.push(lease);
        }
        leases.clear();
        until("the memory is given back", async || MEMORY.current_usage() < before + LARGE).await;
        pool.run::<()>(Command::new("DEL").key(&key)).await.unwrap();
    }
}

#[tokio::test]
async fn idle_connections_do_not_keep_what_one_large_value_needed() {
    let Some(url) = single() else { return };
    let _turn = TURN.lock().await;
    for url in by_each_driver(&url) {
        let pool = few(4).command_timeout(Duration::from_secs(60)).connect(&url).await.unwrap();
        let shared = SharedRedisPoolOptions::new()
            .max_connections(1)
            .command_timeout(Duration::from_secs(60));
        let shared = shared.connect(&url).await.unwrap();
        let key = key("large");
        let before = MEMORY.current_usage();
        let mut leases = Vec::new();
        for n in 0..4 {
            let mut lease = pool.acquire().await.unwrap();
            if n % 2 == 0 {
                lease.run::<()>(set(&key, vec![b'x'; LARGE])).await.unwrap();
            } else {
                let Value::Bytes(value) = lease.run(Command::new("GET").key(&key)).await.unwrap()
                else {
                    panic!()
                };
                assert_eq!(value.len(), LARGE);
            }
            leases.push(lease);
        }
        assert_eq!(
            shared.run::<Value>(Command::new("GET").key(&key)).await.unwrap(),
            Value::Bytes(vec![b'x'; LARGE].into())
        );
        leases.clear();
        drop(shared.acquire().await.unwrap());
        until("the memory is given back", async || MEMORY.current_usage() < before + LARGE).await;
        pool.run::<()>(Command::new("DEL").key(&key)).await.unwrap();
    }
}
