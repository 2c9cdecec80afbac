//! An in-memory database lives as long as its pool, whatever its users do.

use crate::conformance::fixture::Fixture;
use crate::conformance::plan::Plan;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial};
use crate::poll::poll_n;
use millpond_core::{CloseReason, Lease};

/// The pool must not lose its connection, because the data would be lost with it.
pub async fn b06_a_database_in_memory_survives_whatever_its_users_do<T: Trial>(stage: Stage<T>) {
    let mut plan = Plan::new(String::new());
    (plan.config.pool_size, plan.config.max_overflow) = (20, 40);
    let service = Service::new(&stage.fixture, stage.fixture.in_memory(&plan), plan.trace);
    let mut lease = service.lease().await;
    service.execute(&mut lease, "CREATE TABLE ponds (i INT); INSERT INTO ponds VALUES (1)").await;
    drop(lease);
    for sql in ["BEGIN; DELETE FROM ponds", "BEGIN; DROP TABLE ponds", "SELECT 1"] {
        let mut lease = service.lease().await;
        service.execute(&mut lease, sql).await;
        drop(lease);
        assert_whole(&service).await;
    }
    for polls in 0..12 {
        let mut lease = service.lease().await;
        let _ = poll_n(stage.fixture.begin(&mut lease), polls % 4).await;
        drop(lease);
        let _ = poll_n(service.ask(6), polls % 6).await;
        assert_whole(&service).await;
    }
    Lease::discard(service.lease().await, CloseReason::Discarded);
    assert_whole(&service).await;
    let theirs = service.clone();
    let user = tokio::spawn(async move {
        let mut lease = theirs.lease().await;
        theirs.execute(&mut lease, "BEGIN; DELETE FROM ponds").await;
        panic!("in the middle of it");
    });
    assert!(user.await.is_err_and(|error| error.is_panic()));
    assert_whole(&service).await;
}

async fn assert_whole<F: Fixture>(service: &Service<F>) {
    service.assert_clean().await;
    assert!(
        service.finds(&mut service.lease().await, "SELECT i FROM ponds WHERE i = 1").await,
        "it has been lost"
    );
}
