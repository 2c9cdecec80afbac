//! What the error of a real connect means to the pool.

use crate::conformance::fixture::Fixture;
use crate::conformance::stage::{Stage, Trial, secs};
use millpond_core::{BoxError, ConnectInfo, ErrorClass, Manager};
use tokio::time::timeout;

/// A server that is away may come back, so its callers wait.
pub async fn c95_a_server_that_is_away_is_tried_again<T: Trial>(stage: Stage<T>) {
    let (class, error) = class_of_connect(stage.fixture.away().await).await;
    assert_ne!(class, ErrorClass::Permanent, "nobody waits for a server that is away: {error}");
}

/// Callers of a server that refuses permanently fail at once.
pub async fn c95_a_server_that_refuses_permanently_is_not_tried_again<T: Trial>(stage: Stage<T>) {
    let (class, error) = class_of_connect(stage.fixture.refused().await).await;
    assert_eq!(class, ErrorClass::Permanent, "it is tried until the deadline: {error}");
}

/// Connects, and returns what the error means.
async fn class_of_connect<M: Manager>(manager: Result<M, BoxError>) -> (ErrorClass, String) {
    let manager = manager.unwrap_or_else(|error| panic!("there is no such manager: {error}"));
    let info = ConnectInfo::first("conformance", secs(20));
    match timeout(secs(60), manager.connect(&info)).await {
        Ok(Err(error)) => (manager.classify(&error), error.to_string()),
        Ok(Ok(_)) => panic!("a connection was opened"),
        Err(_) => panic!("`connect` hangs"),
    }
}
