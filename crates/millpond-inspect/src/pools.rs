//! The pools to show, and how they are read.

use crate::recorder::Recorder;
use millpond_core::{Health, Holder, Status};

/// The pools to show, their recorder, and the text of an exporter.
pub(crate) struct Pools {
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

impl Pools {
    /// Reads the pools that exist.
    pub(crate) fn read(&self) -> impl Iterator<Item = (&str, Snapshot)> {
        self.pools.iter().filter_map(|(name, read)| Some((name.as_str(), read()?)))
    }
}
