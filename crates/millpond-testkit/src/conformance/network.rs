//! A server that says nothing or half of it, and a network that swallows, delays and chops up.

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

/// A server that answers is heard within this time, however busy the machine is.
const PATIENCE: Duration = secs(20);

/// The answer comes when the server has one to give.
pub async fn b09_a_server_that_is_not_ready_is_tried_until_it_is<T: Trial>(stage: Stage<T>) {
    let not_yet = stage.fixture.refusals().not_yet;
    let (service, server) = behind(&stage, vec![not_yet; 3], PATIENCE).await;
    assert!(matches!(service.ask(9).await, Ok(9)));
    assert_eq!(service.trace.count("connect failed"), 3);
    assert!(server.accepted() >= 4);
}

/// What hangs costs `connect_timeout`, what hangs up less.
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
    // On a busy machine an attempt at the real server may take too long as well.
    assert!(failed >= attempts, "{failed} attempts of {attempts} failed");
    assert_eq!(server.accepted(), failed + 1);
}

/// Waiting would not help.
pub async fn b09_a_server_that_refuses_permanently_fails_the_acquire_at_once<T: Trial>(
    stage: Stage<T>,
) {
    let (service, server) = behind(&stage, vec![stage.fixture.refusals().never], PATIENCE).await;
    let error = refused(service.pool.acquire().await);
    assert!(matches!(error, PoolError::Connect { attempts: 1, .. }), "{error}");
    assert_eq!(server.accepted(), 1, "nothing was tried twice");
}

/// Twenty callers, four dead connections, one limit.
pub async fn b09_half_open_connections_are_found_out_within_the_limit_of_one_ping<T: Trial>(
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

/// What the network has swallowed is the borrower's to give up, and nobody else's loss.
pub async fn b09_a_question_that_was_swallowed_costs_no_slot<T: Trial>(stage: Stage<T>) {
    let (service, proxy) = through(&stage, 1, secs(2)).await;
    let mut lease = service.lease().await;
    proxy.half_open();
    assert!(timeout(ms(20), stage.fixture.ask(&mut lease, 1)).await.is_err());
    drop(lease);
    service.assert_clean().await;
}

/// Byte by byte there is much that can be cut, and every second wording has to be prepared.
pub async fn b09_answers_in_pieces_are_the_right_ones_however_often_they_are_cut<T: Trial>(
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

/// A pool of one connection to a server that plays these scripts first, one for each client. One on
/// which the server falls silent costs the limit of a connect.
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

/// A pool of so many connections, pinged before every loan, and the network that it goes through.
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

/// Host and port in a URL.
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
