//! `Inspect`, which collects the pools to show.

use crate::{Recorder, routes};
use axum::Router;
use millpond_core::{Health, Holder, Pool, Status};
use std::fmt;
use std::sync::Arc;

/// The pools to show. Its [`router`](Self::router) is mounted in a service's own.
pub struct Inspect {
    pub(crate) recorder: Recorder,
    pub(crate) pools: Vec<(String, ReadPool)>,
    pub(crate) metrics: Option<Render>,
}

/// What is shown of a pool beside its events.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its health, such as `pool.health()`.
    pub health: Health,
    /// Its counts.
    pub status: Status,
    /// The holders of its connections.
    pub holders: Vec<Holder>,
}

/// Reads a pool; `None` once it is gone.
pub(crate) type ReadPool = Box<dyn Fn() -> Option<Snapshot> + Send + Sync>;

/// Renders metrics as text.
pub(crate) type Render = Box<dyn Fn() -> String + Send + Sync>;

impl Inspect {
    /// Creates an instance without pools. Add clones of the recorder to the pools as their
    /// observer, so that events and histograms are shown.
    pub fn new(recorder: Recorder) -> Self {
        Self { recorder, pools: Vec::new(), metrics: None }
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
        self.pools.push((name.into(), Box::new(read)));
        self
    }

    /// Answers `/metrics` with the text of an exporter, such as that of `PrometheusHandle::render`.
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.metrics = Some(Box::new(render));
        self
    }

    /// Returns the router, for `Router::nest` or `Router::merge`.
    pub fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        routes::router(Arc::new(self))
    }

    /// Reads the pools that exist.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&str, Snapshot)> {
        self.pools.iter().filter_map(|(name, read)| Some((name.as_str(), read()?)))
    }
}

impl fmt::Debug for Inspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspect").finish_non_exhaustive()
    }
}
