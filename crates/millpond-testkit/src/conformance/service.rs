//! A pool built with the backend's own options, as users build it, and helpers to query it.

use crate::conformance::fixture::Served;
use crate::conformance::fixture::{Connection, Fixture};
use crate::conformance::plan::Plan;
use crate::conformance::stage::{Stage, Trial, secs};
use crate::trace::Trace;
use millpond_core::{BoxError, Lease, PoolExt};
use std::sync::Arc;
use tokio::task::yield_now;
use tokio::time::Instant;

/// A pool, its trace, and the fixture that can query its connections.
pub(crate) struct Service<F: Fixture> {
    pub(crate) fixture: Arc<F>,
    pub(crate) pool: Served<F>,
    pub(crate) trace: Trace,
}

impl<T: Trial> Stage<T> {
    /// Builds a pool of one connection to the fixture's server, with a changed plan.
    pub(crate) fn service(&self, change: impl FnOnce(&mut Plan)) -> Service<T::Fixture> {
        let mut plan = Plan::new(self.fixture.url());
        change(&mut plan);
        Service::new(&self.fixture, self.fixture.pool(&plan), plan.trace)
    }
}

impl<F: Fixture> Service<F> {
    pub(crate) fn new(fixture: &Arc<F>, pool: Result<Served<F>, BoxError>, trace: Trace) -> Self {
        let pool = pool.unwrap_or_else(|error| panic!("the backend builds no pool: {error}"));
        Self { fixture: Arc::clone(fixture), pool, trace }
    }

    /// Acquires a lease; panics on an error.
    pub(crate) async fn lease(&self) -> Lease<Connection<F>> {
        match self.pool.acquire().await {
            Ok(lease) => lease,
            Err(error) => panic!("nothing was lent: {error}"),
        }
    }

    /// Acquires this many leases at the same time.
    pub(crate) async fn leases(&self, count: usize) -> Vec<Lease<Connection<F>>> {
        let mut loans = Vec::new();
        for _ in 0..count {
            loans.push(self.lease().await);
        }
        loans
    }

    /// Acquires a lease and sends a query over it.
    pub(crate) async fn ask(&self, number: i64) -> Result<i64, BoxError> {
        let mut lease = self.pool.acquire().await?;
        self.fixture.ask(&mut lease, number).await
    }

    /// Acquires a lease and sends a query over it, in one of many wordings.
    pub(crate) async fn ask_worded(&self, wording: u32, number: u32) -> Option<i64> {
        self.fixture.ask_worded(&mut *self.lease().await, wording.into(), number.into()).await.ok()
    }

    /// Returns true if a script fails on a newly acquired lease.
    pub(crate) async fn refuses(&self, sql: &'static str) -> bool {
        self.fixture.execute(&mut *self.lease().await, sql).await.is_err()
    }

    /// Asserts that the next lease is outside any transaction and answers correctly.
    pub(crate) async fn assert_clean(&self) {
        let mut lease = self.lease().await;
        match self.fixture.is_in_transaction(&mut lease).await {
            Ok(open) => assert!(!open, "an open transaction was lent"),
            Err(error) => panic!("a connection in trouble was lent: {error}"),
        }
        self.assert_answers(&mut lease, 4711).await;
    }

    /// Asserts that the connection answers with the number that it is asked for.
    pub(crate) async fn assert_answers(&self, lease: &mut Lease<Connection<F>>, number: i64) {
        match self.fixture.ask(lease, number).await {
            Ok(answer) => assert_eq!(answer, number, "the answer to another question"),
            Err(error) => panic!("a connection in trouble was lent: {error}"),
        }
    }

    /// Executes a script; panics on an error.
    pub(crate) async fn execute(&self, lease: &mut Lease<Connection<F>>, sql: &'static str) {
        if let Err(error) = self.fixture.execute(lease, sql).await {
            panic!("{sql}: {error}");
        }
    }

    /// Returns true if a query yields a row.
    pub(crate) async fn finds(&self, lease: &mut Lease<Connection<F>>, sql: &'static str) -> bool {
        match self.fixture.finds(lease, sql).await {
            Ok(found) => found,
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Waits until the condition is true; panics after 60 seconds.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(
                start.elapsed() < secs(60),
                "not: {what}: {:?}, {:?}",
                self.pool.status(),
                self.trace.lines()
            );
            yield_now().await;
        }
    }
}

impl<F: Fixture> Clone for Service<F> {
    fn clone(&self) -> Self {
        Self {
            fixture: Arc::clone(&self.fixture),
            pool: Arc::clone(&self.pool),
            trace: self.trace.clone(),
        }
    }
}
