//! Servers that stay silent or answer half, and networks that drop, delay and split data.

use crate::conformance::fixture::Fixture;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial, join, ms, refused, secs};
use crate::fake::{FakeServer, ServerStep};
use crate::flow::{Direction, Flow};
use crate::poll::poll_n;
use crate::proxy::ChaosProxy;
use millpond_core::{Limits, PoolError, PoolExt};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A healthy server answers within this time, even on a busy machine.
const PATIENCE: Duration = secs(20);

/// The pool retries until the server accepts the connection.
pub async fn b09_a_server_that_is_not_ready_is_retried_until_it_is<T: Trial>(stage: Stage<T>) {
    let not_yet = stage.fixture.refusals().not_yet;
    let (service, server) = behind(&stage, vec![not_yet; 3], PATIENCE).await;
    assert!(matches!(service.ask(9).await, Ok(9)));
    assert_eq!(service.trace.count("connect failed"), 3);
    assert!(server.accepted() >= 4);
}

/// A silent server costs `connect_timeout`, one that closes the connection less.
pub async fn b09_a_server_that_falls_silent_or_hangs_up_costs_an_attempt_and_no_more<T: Trial>(
    stage: Stage<T>,
) {
    let not_yet = stage.fixture.refusals().not_yet;
    let half: Vec<ServerStep> = not_yet.iter().map(halved).collect();
    let ends = [vec![ServerStep::FallSilent], vec![], vec![ServerStep::Reset]];
    let mut scripts = vec![
        vec![ServerStep::FallSilent],
        vec![ServerStep::Reset],
        vec![ServerStep::Receive, ServerStep::FallSilent],
    ];
    scripts.extend(ends.map(|end| [half.clone(), end].concat()));
    scripts.push([not_yet, vec![ServerStep::FallSilent]].concat());
    let attempts = scripts.len();
    let (service, server) = behind(&stage, scripts, ms(500)).await;
    assert!(matches!(service.ask(9).await, Ok(9)));
    let failed = service.trace.count("connect failed");
    // On a busy machine a connect to the real server may time out as well.
    assert!(failed >= attempts, "{failed} attempts of {attempts} failed");
    assert_eq!(server.accepted(), failed + 1);
}

/// A permanent refusal is not retried.
pub async fn b09_a_server_that_refuses_permanently_fails_the_acquire_at_once<T: Trial>(
    stage: Stage<T>,
) {
    let (service, server) = behind(&stage, vec![stage.fixture.refusals().never], PATIENCE).await;
    let error = refused(service.pool.acquire().await);
    assert!(matches!(error, PoolError::Connect { attempts: 1, .. }), "{error}");
    assert_eq!(server.accepted(), 1, "nothing was tried twice");
}

/// Twenty callers and four dead connections wait for one `ping_timeout`.
pub async fn b09_half_open_connections_are_detected_within_one_ping_timeout<T: Trial>(
    stage: Stage<T>,
) {
    let limit = secs(3);
    let (service, proxy) = through(&stage, 4, limit).await;
    drop(service.leases(4).await);
    service.until("four are idle", || service.pool.status().idle == 4).await;
    proxy.half_open();
    let begun = Instant::now();
    let users = (0..20).map(|number| {
        let service = service.clone();
        tokio::spawn(async move { (service.ask(number).await.ok(), number) })
    });
    for user in users.collect::<Vec<_>>() {
        let (answer, number) = join(user).await;
        assert_eq!(answer, Some(number));
    }
    assert!(begun.elapsed() < limit + secs(5), "{:?}", begun.elapsed());
}

/// A query that the network lost is abandoned by its borrower; the slot is free again.
pub async fn b09_a_query_lost_in_the_network_costs_no_slot<T: Trial>(stage: Stage<T>) {
    let (service, proxy) = through(&stage, 1, secs(2)).await;
    let mut lease = service.lease().await;
    proxy.half_open();
    assert!(timeout(ms(20), stage.fixture.ask(&mut lease, 1)).await.is_err());
    drop(lease);
    service.assert_clean().await;
}

/// One byte at a time gives many polls at which to cancel; every second wording is prepared anew.
pub async fn b09_answers_in_pieces_are_correct_even_if_calls_are_dropped<T: Trial>(
    stage: Stage<T>,
) {
    let (service, proxy) = through(&stage, 2, secs(5)).await;
    proxy.set(Direction::ToClient, Flow::free().in_pieces_of(1));
    let mut cut = 0;
    for number in 0..150_u32 {
        let wording = number / 2;
        let mut lease = service.lease().await;
        let polls = 1 + number as usize % 60;
        cut += u32::from(
            poll_n(stage.fixture.ask_worded(&mut lease, wording.into(), -1), polls).await.is_none(),
        );
        drop(lease);
        assert_eq!(service.ask_worded(wording, number).await, Some(number.into()));
    }
    assert!(cut > 50, "{cut} were cut off");
}

/// Builds a pool of one connection to a server that plays one of these scripts for each of its
/// first clients. A script that falls silent costs the connect timeout.
async fn behind<T: Trial>(
    stage: &Stage<T>,
    scripts: Vec<Vec<ServerStep>>,
    connect: Duration,
) -> (Service<T::Fixture>, FakeServer) {
    let url = stage.fixture.url();
    let server = FakeServer::start(scripts, Some(address(&url))).await;
    let server = server.unwrap_or_else(|error| panic!("there is no free port: {error}"));
    let service = stage.service(|plan| {
        plan.url = url.replace(address(&url), &server.address().to_string());
        (plan.config.limits, plan.config.connect_timeout) = (Limits::Off, connect);
    });
    (service, server)
}

/// Builds a pool of this size that pings before every loan, and the proxy in front of its server.
pub(crate) async fn through<T: Trial>(
    stage: &Stage<T>,
    size: u32,
    ping: Duration,
) -> (Service<T::Fixture>, ChaosProxy) {
    let url = stage.fixture.url();
    let proxy = ChaosProxy::start(address(&url)).await;
    let proxy = proxy.unwrap_or_else(|error| panic!("there is no free port: {error}"));
    let service = stage.service(|plan| {
        plan.url = proxy.reroute(&url);
        (plan.config.limits, plan.config.pool_size) = (Limits::Off, size);
        (plan.config.ping_timeout, plan.config.pre_ping_idle) = (ping, Duration::ZERO);
    });
    (service, proxy)
}

/// Returns the host and port of a URL.
fn address(url: &str) -> &str {
    let target = url.split_once("://").map_or(url, |(_, target)| target);
    let target = target.rsplit_once('@').map_or(target, |(_, target)| target);
    target.split('/').next().unwrap_or_default()
}

fn halved(step: &ServerStep) -> ServerStep {
    match step {
        ServerStep::Send(words) => ServerStep::Send(words[..words.len() / 2].to_vec()),
        other => other.clone(),
    }
}
