//! One connection writes while others read, and neither waits for the other.

use crate::conformance::fixture::Fixture;
use crate::conformance::plan::Plan;
use crate::conformance::service::Service;
use crate::conformance::stage::{Stage, Trial};
use millpond_core::PoolExt;

/// The writer holds a write lock, each reader a snapshot.
pub async fn b07_readers_read_what_was_committed_while_the_only_writer_writes<T: Trial>(
    stage: Stage<T>,
) {
    let mut plan = Plan::new(stage.fixture.url());
    plan.config.pool_size = 3;
    let (writer, readers) = match stage.fixture.split(&plan) {
        Ok((writer, readers)) => (
            Service::new(&stage.fixture, Ok(writer), plan.trace.clone()),
            Service::new(&stage.fixture, Ok(readers), plan.trace),
        ),
        Err(error) => panic!("the backend builds no pools: {error}"),
    };
    let mut lease = writer.lease().await;
    writer.execute(&mut lease, "CREATE TABLE ponds (i INT)").await;
    writer.execute(&mut lease, "BEGIN; INSERT INTO ponds VALUES (1)").await;
    assert!(writer.pool.try_acquire().is_none(), "there is one writer");
    for mut reader in readers.leases(3).await {
        assert!(!readers.finds(&mut reader, "SELECT i FROM ponds").await, "it is not committed");
        assert!(
            stage.fixture.execute(&mut reader, "INSERT INTO ponds VALUES (2)").await.is_err(),
            "a reader wrote"
        );
    }
    writer.execute(&mut lease, "COMMIT").await;
    drop(lease);
    for mut reader in readers.leases(3).await {
        assert!(readers.finds(&mut reader, "SELECT i FROM ponds").await, "it is committed");
    }
}
