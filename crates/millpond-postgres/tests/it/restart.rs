//! A server that is killed under load and comes back.

use crate::private::Private;
use millpond_postgres::PgPoolOptions;
use sqlx::Connection;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long after the server accepts connections the pool may need to answer the first question.
const BACK_MAX: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_under_load_costs_no_place_and_no_wrong_answer_and_is_back_in_service_at_once() {
    let Some(mut server) = Private::start(false) else { return };
    let pool = PgPoolOptions::new().pool_size(8).max_overflow(2).connect(&server.server().url).await.unwrap();
    let [right, wrong, failed] = [const { AtomicU64::new(0) }; 3];
    let working = AtomicBool::new(true);
    let task = |task: i64| {
        let (pool, working, right, wrong, failed) = (&pool, &working, &right, &wrong, &failed);
        async move {
            for round in 0.. {
                if !working.load(Ordering::Relaxed) {
                    break;
                }
                let nonce = task * 1_000_000 + round;
                match sqlx::query_scalar::<_, i64>("SELECT $1").bind(nonce).fetch_one(pool).await {
                    Ok(echo) if echo == nonce => right.fetch_add(1, Ordering::Relaxed),
                    Ok(_) => wrong.fetch_add(1, Ordering::Relaxed),
                    Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                };
                tokio::task::yield_now().await;
            }
        }
    };
    let trouble = async {
        while right.load(Ordering::Relaxed) < 2_000 {
            tokio::task::yield_now().await;
        }
        server.signal("KILL");
        server.start_again("").await;
        server.accepts().await.close().await.unwrap();
        let (back, before) = (Instant::now(), right.load(Ordering::Relaxed));
        while right.load(Ordering::Relaxed) == before {
            assert!(back.elapsed() < BACK_MAX, "not back after {BACK_MAX:?}");
            tokio::task::yield_now().await;
        }
        let took = back.elapsed();
        while right.load(Ordering::Relaxed) < before + 2_000 {
            tokio::task::yield_now().await;
        }
        working.store(false, Ordering::Relaxed);
        took
    };
    let (_, took) = futures_util::future::join(futures_util::future::join_all((0..500).map(task)), trouble).await;
    println!("back after {took:?}; {right:?} right, {failed:?} failed");
    assert_eq!(wrong.into_inner(), 0);
    // Every place can be taken.
    let all = (0..10).map(|_| pool.acquire_within(Duration::from_secs(10)));
    let leases = futures_util::future::try_join_all(all).await.unwrap();
    assert_eq!(leases.len(), 10);
}
