//! A suspected failover is checked first; a harmless error that looks like one closes no
//! connection.

use crate::conformance::fixture::Fixture;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial, secs};
use crate::own_server::OwnServer;
use millpond_core::{CloseReason, Lease};
use tokio::time::timeout;

const TABLE: &str = "CREATE TABLE ponds (i INT)";
const WRITE: &str = "INSERT INTO ponds VALUES (1)";

/// All connections are outdated, the lent ones too, once the check finds the server read-only.
pub async fn b10_a_server_that_becomes_read_only_invalidates_all_connections<T: Trial>(
    stage: Stage<T>,
) {
    let Some((mut server, url)) = own(&stage).await else { return };
    let service = over(&stage, &url);
    let mut bystander = service.lease().await;
    service.execute(&mut bystander, TABLE).await;
    for refusal in stage.fixture.harmless().repeat(3) {
        assert!(service.refuses(refusal).await, "{refusal}");
        service.assert_clean().await;
    }
    assert_eq!((service.trace.count("closed"), generation(&service)), (0, 0), "it was harmless");

    if let Err(error) = stage.fixture.demote(&mut server).await {
        panic!("it goes on taking writes: {error}");
    }
    let before = Lease::info(&bystander).id;
    let noticed = async {
        while generation(&service) == 0 {
            assert!(service.refuses(WRITE).await, "a demoted server took a write");
        }
    };
    assert!(
        timeout(secs(60), noticed).await.is_ok(),
        "the pool did not notice: {:?}",
        service.pool.status()
    );
    drop(bystander);
    service
        .until("who was in use went at its return", || {
            service.trace.count("closed invalidated") > 0
        })
        .await;
    assert!(Lease::info(&service.lease().await).id > before);
}

/// Otherwise every connection to a read-only server would be outdated as soon as it is opened.
pub async fn b10_a_pool_whose_servers_never_took_writes_keeps_its_connections<T: Trial>(
    stage: Stage<T>,
) {
    let Some((mut server, url)) = own(&stage).await else { return };
    if let Err(error) = stage.fixture.demote(&mut server).await {
        panic!("it goes on taking writes: {error}");
    }
    let service = over(&stage, &url);
    for _ in 0..3 {
        assert!(service.refuses(TABLE).await, "it took a write");
    }
    service.assert_clean().await;
    assert_eq!((generation(&service), service.trace.count("connected")), (0, 1));
}

/// A session ended by the server makes the pool ping its idle connections; it does not invalidate
/// them.
pub async fn b10_a_session_ended_by_the_server_makes_the_pool_ping_its_idle_connections<
    T: Trial,
>(
    stage: Stage<T>,
) {
    let service = stage.service(|plan| plan.config.pool_size = 3);
    let mut leases = service.leases(3).await;
    for lease in &mut leases[..2] {
        if let Err(error) = stage.fixture.kill(lease).await {
            panic!("the server ends no connection: {error}");
        }
    }
    let mut used = leases.remove(0);
    drop(leases);
    assert!(stage.fixture.ask(&mut used, 1).await.is_err());
    drop(used);
    service.until("one is left", || service.pool.status().open == 1).await;
    let mut closed = service.trace.closed();
    closed.sort_by_key(|reason| reason.name());
    assert_eq!(closed, [CloseReason::Broken, CloseReason::PingFailed]);
    assert_eq!(generation(&service), 0);
    service.assert_clean().await;
}

async fn own<T: Trial>(stage: &Stage<T>) -> Option<(OwnServer, String)> {
    let own = stage.fixture.own_server().await;
    own.map_err(|why| println!("SKIP b10: {why}")).ok()
}

/// Two connections without pings, so that only a refused write can reveal the failover.
fn over<T: Trial>(stage: &Stage<T>, url: &str) -> Service<T::Fixture> {
    stage.service(|plan| {
        plan.url = url.to_owned();
        (plan.config.pool_size, plan.config.pool_pre_ping) = (2, false);
    })
}

fn generation<F: Fixture>(service: &Service<F>) -> u64 {
    service.pool.status().generation
}
