//! `Inspect`, which collects the pools to show.

use crate::pools::{Pools, Snapshot};
use crate::recorder::Recorder;
use crate::routes;
use axum::Router;
use millpond_core::Pool;
use std::fmt;
use std::sync::Arc;

/// The pools to show. Its [`router`](Self::router) is mounted in a service's own.
pub struct Inspect(Pools);

impl Inspect {
    /// Creates an instance without pools. Add clones of the recorder to the pools as their
    /// observer, so that events and histograms are shown.
    pub fn new(recorder: Recorder) -> Self {
        Self(Pools { recorder, pools: Vec::new(), metrics: None })
    }

    /// Shows a pool, also a custom one or an `Arc<dyn Pool<Connection = C>>`, under its name. The
    /// router keeps the pool open; [`source`](Self::source) does not have to.
    pub fn pool<P: Pool + ?Sized>(self, pool: Arc<P>) -> Self {
        self.source(pool.name().to_owned(), move || {
            let (health, status) = (pool.health(), pool.status());
            Some(Snapshot { health, status, holders: pool.holders() })
        })
    }

    /// Shows a pool that a closure reads, under the name in its events, for as long as the closure
    /// returns a value. Called for each request; it must not block.
    pub fn source(
        mut self,
        name: impl Into<String>,
        read: impl Fn() -> Option<Snapshot> + Send + Sync + 'static,
    ) -> Self {
        self.0.pools.push((name.into(), Box::new(read)));
        self
    }

    /// Answers `/metrics` with the text of an exporter, such as that of `PrometheusHandle::render`.
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.0.metrics = Some(Box::new(render));
        self
    }

    /// Returns the router, for `Router::nest` or `Router::merge`.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        routes::router(Arc::new(self.0))
    }
}

impl fmt::Debug for Inspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspect").finish_non_exhaustive()
    }
}
