//! The server stops abandoned work in time, within the limit, and without affecting other
//! borrowers.

use crate::conformance::fixture::Fixture;
use crate::conformance::network::through;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial, join, ms};
use crate::proxy::ChaosProxy;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::runtime::Builder;

/// Cancels arrive at about the time at which the queries end by themselves, some before and some
/// after, both with all slots taken and with a free one. Meanwhile the kernel counts the sockets.
pub async fn b04_a_late_cancel_hits_no_other_borrower_and_opens_no_socket_beyond_the_limit<
    T: Trial,
>(
    stage: Stage<T>,
) {
    for cap in [2, 6] {
        let (service, proxy) = through(&stage, cap, ms(80)).await;
        let (proxy, done) = (Arc::new(proxy), Arc::new(AtomicBool::new(false)));
        let (theirs, until) = (Arc::clone(&proxy), Arc::clone(&done));
        let counter = thread::spawn(move || most_sockets(&theirs, &until));
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.unwrap_or_else(|error| panic!("no runtime could be built: {error}"));
        let users: Vec<_> =
            (0..4).map(|user| runtime.spawn(abandon(service.clone(), user))).collect();
        let mut cut = 0;
        for user in users {
            cut += join(user).await;
        }
        done.store(true, Ordering::Relaxed);
        let (together, reported) =
            counter.join().unwrap_or_else(|_| panic!("the sockets were not counted"));
        runtime.shutdown_background();
        assert!(cut > 100, "{cut} were cut off");
        assert!(together <= cap as usize, "{together} sockets at once, and a cap of {cap}");
        assert!(reported >= 2, "the server does not count: {reported}");
        assert!(service.pool.status().totals.peak <= cap);
    }
}

/// Starts a query, drops it, and then acquires as another borrower. Returns how many queries were
/// dropped before they completed.
async fn abandon<F: Fixture>(service: Service<F>, user: u32) -> u32 {
    let mut cut = 0;
    for round in 0..60 {
        let mut lease = service.lease().await;
        let pause = service.fixture.pause(&mut lease, ms(u64::from(5 + (user * 7 + round) % 12)));
        cut += u32::from(crate::poll::poll_n(pause, 1).await.is_none());
        drop(lease);
        let mut lease = service.lease().await;
        if let Err(error) = service.fixture.pause(&mut lease, ms(12)).await {
            panic!("a cancel has hit another borrower: {error}");
        }
        service.assert_answers(&mut lease, i64::from(user * 1_000 + round)).await;
    }
    cut
}

/// Returns how many sockets were seen in two consecutive readings, and the most in a single one.
fn most_sockets(proxy: &ChaosProxy, done: &AtomicBool) -> (usize, usize) {
    let reported = || {
        proxy.client_sockets().unwrap_or_else(|error| panic!("the sockets cannot be read: {error}"))
    };
    let (mut together, mut most, mut before) = (0, 0, reported());
    while !done.load(Ordering::Relaxed) {
        let now = reported();
        together = together.max(now.intersection(&before).count());
        most = most.max(now.len());
        before = now;
    }
    (together, most)
}
