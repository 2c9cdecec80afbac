//! A server that is killed under load, or stays away for long, and comes back.

use crate::conformance::fixture::{Connection, Fixture};
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial, join, ms, quiet, secs};
use crate::own_server::OwnServer;
use crate::still_clock::StillClock;
use millpond_core::{Lease, PoolExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout};

/// How long the server is away, longer than the callers of the pool wait.
const AWAY: Duration = secs(41);

/// How many pools go through the outage.
const POOLS: usize = 10;

/// For how many seconds after the server's return one query is made per second, and how many of the
/// first may fail.
const ASKED: i64 = 60;
const REFUSED_MAX: i64 = 5;

/// The pool must answer the first query within this time after the server accepts connections.
const BACK_MAX: Duration = secs(10);

/// The queries so far.
#[derive(Default)]
struct Count {
    right: AtomicU64,
    wrong: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
}

/// No caller gets another caller's answer, all slots can be acquired again, and the pool is back
/// soon after the server.
pub async fn b08_a_server_killed_under_load_costs_no_slot_and_no_wrong_answer<T: Trial>(
    stage: Stage<T>,
) {
    let (mut server, url) = match stage.fixture.own_server().await {
        Ok(own) => own,
        Err(why) => return println!("SKIP b08: {why}"),
    };
    let service = stage.service(|plan| {
        plan.url.clone_from(&url);
        (plan.config.pool_size, plan.config.max_overflow) = (8, 2);
    });
    let count = Arc::new(Count::default());
    let users: Vec<_> =
        (0..500).map(|user| tokio::spawn(ask(service.clone(), Arc::clone(&count), user))).collect();
    until_right(&count, 2_000).await;
    done(server.stop("KILL").await);
    start_again(&stage, &mut server, &url).await;
    let (back, before) = (Instant::now(), count.right.load(Ordering::Relaxed));
    while count.right.load(Ordering::Relaxed) == before {
        assert!(back.elapsed() < BACK_MAX, "not back after {BACK_MAX:?}");
        yield_now().await;
    }
    println!("back after {:?}; {} failed", back.elapsed(), count.failed.load(Ordering::Relaxed));
    until_right(&count, before + 2_000).await;
    count.over.store(true, Ordering::Relaxed);
    for user in users {
        join(user).await;
    }
    assert_eq!(count.wrong.load(Ordering::Relaxed), 0);
    let leases = service.leases(10).await;
    assert!(service.pool.try_acquire().is_none(), "beyond the cap");
    drop(leases);
}

/// Two callers each hold a connection that the outage killed and wait for a second one until their
/// deadlines. When the server is back soon afterwards, no caller waits any more.
pub async fn b08_a_pool_serves_again_soon_after_an_outage_in_which_its_callers_gave_up<T: Trial>(
    stage: Stage<T>,
) {
    let (mut server, url) = match stage.fixture.own_server().await {
        Ok(own) => own,
        Err(why) => return println!("SKIP b08: {why}"),
    };
    let clock = StillClock::stop();
    // The pause after a failed attempt is random, so ten pools are tried.
    let service = |_| {
        stage.service(|plan| {
            plan.url.clone_from(&url);
            plan.config.pool_size = 4;
        })
    };
    let services: Vec<_> = (0..POOLS).map(service).collect();
    let mut leases = Vec::new();
    for service in &services {
        leases.extend(service.leases(2).await.into_iter().map(|lease| (service, lease)));
    }
    done(server.stop("KILL").await);
    let requests: Vec<_> =
        leases.into_iter().map(|(service, first)| wait_for_a_second(service, first)).collect();
    advance(&clock, &services, AWAY).await;
    wait_frozen("a request", || !requests.iter().all(JoinHandle::is_finished)).await;
    for request in requests {
        join(request).await;
    }
    assert!(
        services.iter().all(|service| service.pool.status().open == 0),
        "what was lent had died"
    );
    start_again(&stage, &mut server, &url).await;
    let mut served = [0; POOLS];
    for number in 0..ASKED {
        let ask = |service: &Service<T::Fixture>| {
            let service = service.clone();
            tokio::spawn(
                async move { service.ask(number).await.is_ok_and(|answer| answer == number) },
            )
        };
        let asking: Vec<_> = services.iter().map(ask).collect();
        advance(&clock, &services, secs(1)).await;
        for ((service, asking), served) in services.iter().zip(asking).zip(&mut served) {
            wait_frozen("an answer", || {
                !asking.is_finished() && service.pool.status().waiting == 0
            })
            .await;
            *served += i64::from(asking.is_finished() && join(asking).await);
        }
    }
    let all_back = served.iter().all(|served| *served >= ASKED - REFUSED_MAX);
    assert!(
        all_back,
        "served in the minute after the server was back, of {ASKED} in each pool: {served:?}"
    );
}

/// Acquires a second connection while holding one, and only then finds that the first is dead.
fn wait_for_a_second<F: Fixture>(
    service: &Service<F>,
    mut first: Lease<Connection<F>>,
) -> JoinHandle<()> {
    let service = service.clone();
    tokio::spawn(async move {
        let second = service.pool.acquire().await;
        let answer = service.fixture.ask(&mut first, 1).await;
        assert!(second.is_err() && answer.is_err(), "the server is dead");
    })
}

/// Lets time pass in small steps, with each connect within one step.
async fn advance<F: Fixture>(clock: &StillClock, services: &[Service<F>], time: Duration) {
    const STEP: Duration = ms(50);
    for _ in 0..time.as_millis() / STEP.as_millis() {
        clock.pass(STEP).await;
        quiet().await;
        wait_frozen("a connect", || {
            services.iter().any(|service| service.pool.status().connecting > 0)
        })
        .await;
    }
}

/// Waits for a real server while the clock stands still.
async fn wait_frozen(what: &str, mut is_awaited: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while is_awaited() {
        assert!(began.elapsed() < secs(60), "{what} hangs");
        yield_now().await;
    }
}

/// Starts the server again and waits until it accepts connections.
async fn start_again<T: Trial>(stage: &Stage<T>, server: &mut OwnServer, url: &str) {
    done(server.start_again(""));
    let began = std::time::Instant::now();
    while stage.fixture.dial(url).await.is_err() {
        assert!(began.elapsed() < secs(60), "the server does not start again");
    }
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
fn done(action: std::io::Result<()>) {
    action.unwrap_or_else(|error| panic!("the server cannot be stopped or started: {error}"));
}
