//! Limits of concurrency.

use crate::support::{storages, subject};
use millpond_ratelimit::{
    Admission, ConcurrencyLease, ConcurrencyLimiter, OnOutage, StorageOptions,
};
use millpond_testkit::{OwnServer, poll_n, until};
use std::time::{Duration, Instant};

fn granted(entry: Admission) -> ConcurrencyLease {
    match entry {
        Admission::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_full_limiter_admits_the_next_one_after_a_release() {
    for storage in storages() {
        let limiter =
            ConcurrencyLimiter::new(&storage, "jobs", 2, Duration::from_secs(60)).unwrap();
        let (who, began) = (subject("jobs"), Instant::now());
        let one = granted(limiter.enter(&who).await.unwrap());
        let _two = granted(limiter.enter(&who).await.unwrap());
        let Admission::Full { used, retry_after } = limiter.enter(&who).await.unwrap() else {
            panic!("a third one runs")
        };
        assert_eq!(used, 2);
        let took = began.elapsed();
        assert!(
            retry_after + took > Duration::from_secs(59) && retry_after <= Duration::from_secs(60),
            "{retry_after:?} after {took:?}"
        );
        one.release().await.unwrap();
        granted(limiter.enter(&who).await.unwrap()).release().await.unwrap();
        granted(limiter.enter(&subject("others")).await.unwrap()).release().await.unwrap();
    }
}

#[tokio::test]
async fn a_lease_expires_unless_it_is_renewed() {
    for storage in storages() {
        let expiry = Duration::from_secs(5);
        let limiter = ConcurrencyLimiter::new(&storage, "jobs", 2, expiry).unwrap();
        let who = subject("expiry");
        let began = Instant::now();
        let (kept, lost) = (
            granted(limiter.enter(&who).await.unwrap()),
            granted(limiter.enter(&who).await.unwrap()),
        );
        while !matches!(limiter.enter(&who).await.unwrap(), Admission::Granted(_)) {
            assert!(kept.renew().await.unwrap());
            assert!(began.elapsed() < Duration::from_secs(60));
        }
        assert!(began.elapsed() >= expiry - Duration::from_millis(5), "{:?}", began.elapsed());
        assert!(!lost.renew().await.unwrap(), "another caller has it");
        assert!(kept.renew().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn never_more_than_the_limit_run_at_once() {
    for storage in storages() {
        let limiter =
            ConcurrencyLimiter::new(&storage, "jobs", 3, Duration::from_secs(60)).unwrap();
        let who = subject("crowd");
        let running = std::sync::Arc::new(std::sync::atomic::AtomicI32::new(0));
        let tasks = (0..16).map(|_| {
            let (limiter, who, running) = (limiter.clone(), who.clone(), running.clone());
            tokio::spawn(async move {
                for _ in 0..20 {
                    if let Admission::Granted(lease) = limiter.enter(&who).await.unwrap() {
                        assert!(running.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 3);
                        tokio::task::yield_now().await;
                        running.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        lease.release().await.unwrap();
                    }
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
    }
}

/// Returns a limiter of one lease, which lasts for an hour.
fn one_for_an_hour(server: &OwnServer, on_outage: OnOutage) -> ConcurrencyLimiter {
    // Only a stopped Redis counts as down, not one on a busy machine.
    let options = StorageOptions::new().on_outage(on_outage).timeout(Duration::from_secs(3));
    let storage = options.connect_lazy(server.url()).unwrap();
    ConcurrencyLimiter::new(&storage, "jobs", 1, Duration::from_secs(3600)).unwrap()
}

/// Waits until Redis grants the only lease, and releases it.
async fn is_free_again(server: &OwnServer, who: &str) {
    let (limiter, mut taken) = (one_for_an_hour(server, OnOutage::Closed), None);
    until("the lease is free again", async || {
        if let Admission::Granted(lease) = limiter.enter(who).await.unwrap() {
            taken = Some(lease);
        }
        taken.is_some()
    })
    .await;
    taken.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_lease_whose_answer_came_too_late_is_released() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let limiter = one_for_an_hour(&server, OnOutage::Open);
    granted(limiter.enter("first").await.unwrap()).release().await.unwrap();
    server.signal("REDIS", "STOP").unwrap();
    let late = granted(limiter.enter("late").await.unwrap());
    // Redis grants it now, but the answer reaches no caller.
    server.signal("REDIS", "CONT").unwrap();
    late.release().await.unwrap();
    is_free_again(&server, "late").await;
}

/// Waits until Redis has answered, which may take longer than the limit of one command.
async fn is_connected(limiter: &ConcurrencyLimiter) {
    let answers =
        async || matches!(limiter.enter(&subject("first")).await.unwrap(), Admission::Granted(_));
    until("Redis answers", answers).await;
}

#[tokio::test]
async fn a_lease_refused_because_its_answer_came_too_late_is_released() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let limiter = one_for_an_hour(&server, OnOutage::Closed);
    is_connected(&limiter).await;
    server.signal("REDIS", "STOP").unwrap();
    assert!(matches!(limiter.enter("late").await.unwrap(), Admission::Full { .. }));
    server.signal("REDIS", "CONT").unwrap();
    is_free_again(&server, "late").await;
}

#[tokio::test]
async fn the_lease_of_a_dropped_caller_is_released() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    let limiter = one_for_an_hour(&server, OnOutage::Open);
    // Opens a connection.
    granted(limiter.enter("first").await.unwrap()).release().await.unwrap();
    for polls in 1..5 {
        if let Some(admission) = poll_n(limiter.enter("gone"), polls).await {
            granted(admission.unwrap()).release().await.unwrap();
        }
        is_free_again(&server, "gone").await;
    }
}

#[tokio::test]
async fn a_lease_released_during_an_outage_is_free_after_it() {
    let Some(server) = OwnServer::or_skip("redis") else { return };
    for is_back_before in [true, false] {
        let limiter = one_for_an_hour(&server, OnOutage::Closed);
        is_connected(&limiter).await;
        let who = format!("held {is_back_before}");
        let lease = granted(limiter.enter(&who).await.unwrap());
        server.signal("REDIS", "STOP").unwrap();
        // From now on Redis counts as down.
        assert!(matches!(limiter.enter("other").await.unwrap(), Admission::Full { .. }));
        if is_back_before {
            server.signal("REDIS", "CONT").unwrap();
        }
        lease.release().await.unwrap();
        server.signal("REDIS", "CONT").unwrap();
        is_free_again(&server, &who).await;
    }
}
