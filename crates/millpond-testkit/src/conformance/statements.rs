//! Prepared statements are cached, up to a limit.

use crate::conformance::fixture::Fixture;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial};

/// The cache belongs to the connection, so its limit holds across borrowers.
pub async fn b11_a_connection_caches_no_more_statements_than_its_limit<T: Trial>(stage: Stage<T>) {
    let service = stage.service(|plan| plan.statements = Some(8));
    let mut most = 0;
    for wording in 0..60_u32 {
        assert_eq!(service.ask_worded(wording, wording).await, Some(wording.into()));
        most = most.max(kept(&service).await);
    }
    // The query that counts may be cached too.
    assert!((8..=9).contains(&most), "{most} statements were kept, of 8 at the most");
    for _ in 0..5 {
        let before = kept(&service).await;
        assert_eq!(service.ask_worded(59, 1).await, Some(1));
        assert_eq!(kept(&service).await, before, "the last one is still known");
    }
    assert_eq!(service.trace.count("connected"), 1, "they were one connection's");
}

async fn kept<F: Fixture>(service: &Service<F>) -> u64 {
    match service.fixture.statements(&mut *service.lease().await).await {
        Ok(statements) => statements,
        Err(error) => panic!("the statements cannot be counted: {error}"),
    }
}
