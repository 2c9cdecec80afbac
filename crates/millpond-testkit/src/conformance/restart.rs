//! A server that is killed under load and comes back.

use crate::conformance::fixture::Fixture;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial, joined, secs};
use millpond_core::PoolExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

/// How long after the server accepts connections the pool may need to answer the first question.
const BACK_MAX: Duration = secs(1);

/// What was asked so far.
#[derive(Default)]
struct Count {
    right: AtomicU64,
    wrong: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
}

/// Nobody gets another one's answer, every place can be taken again, and the first answer comes at once.
pub async fn b08_a_server_killed_under_load_costs_no_place_and_no_wrong_answer<T: Trial>(stage: Stage<T>) {
    let (mut server, url) = match stage.fixture.own_server().await {
        Ok(own) => own,
        Err(why) => return println!("SKIP b08: {why}"),
    };
    let service = stage.service(|plan| {
        plan.url.clone_from(&url);
        (plan.config.pool_size, plan.config.max_overflow) = (8, 2);
    });
    let count = Arc::new(Count::default());
    let users: Vec<_> = (0..500).map(|user| tokio::spawn(ask(service.clone(), Arc::clone(&count), user))).collect();
    until_right(&count, 2_000).await;
    done(server.stop("KILL").await);
    done(server.start_again(""));
    let up = timeout(secs(60), async { while stage.fixture.dial(&url).await.is_err() {} }).await;
    assert!(up.is_ok(), "the server does not start again");
    let (back, before) = (Instant::now(), count.right.load(Ordering::Relaxed));
    while count.right.load(Ordering::Relaxed) == before {
        assert!(back.elapsed() < BACK_MAX, "not back after {BACK_MAX:?}");
        yield_now().await;
    }
    println!("back after {:?}; {} failed", back.elapsed(), count.failed.load(Ordering::Relaxed));
    until_right(&count, before + 2_000).await;
    count.over.store(true, Ordering::Relaxed);
    for user in users {
        joined(user).await;
    }
    assert_eq!(count.wrong.load(Ordering::Relaxed), 0);
    let leases = service.leases(10).await;
    assert!(service.pool.try_acquire().is_none(), "beyond the cap");
    drop(leases);
}

async fn ask<F: Fixture>(service: Service<F>, count: Arc<Count>, user: i64) {
    for number in user * 1_000_000.. {
        if count.over.load(Ordering::Relaxed) {
            break;
        }
        let outcome = match service.ask(number).await {
            Ok(answer) if answer == number => &count.right,
            Ok(_) => &count.wrong,
            Err(_) => &count.failed,
        };
        outcome.fetch_add(1, Ordering::Relaxed);
        yield_now().await;
    }
}

async fn until_right(count: &Count, answers: u64) {
    let waiting = async {
        while count.right.load(Ordering::Relaxed) < answers {
            yield_now().await;
        }
    };
    assert!(timeout(secs(60), waiting).await.is_ok(), "{answers} right answers never came");
}

#[track_caller]
fn done(deed: std::io::Result<()>) {
    deed.unwrap_or_else(|error| panic!("the server cannot be stopped or started: {error}"));
}
