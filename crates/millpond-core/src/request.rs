//! What a caller asks a pool for.

use crate::ledger::Caller;
use crate::rt;
use std::panic::Location;
use std::time::Duration;

/// The caller of an acquire, and how long it may take.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Request {
    /// The line that will be named as the holder of the connection.
    pub location: &'static Location<'static>,
    /// The limit of this request; `None` is the pool's own `pool_timeout`. Zero takes what
    /// is ready or fails at once.
    pub limit: Option<Duration>,
    /// What the connection is for, shown as its holder instead of the line. It must contain no
    /// value and no secret.
    pub label: Option<&'static str>,
}

impl Request {
    /// A request from the line where this is called.
    #[track_caller]
    pub fn here() -> Self {
        Self { location: Location::caller(), limit: None, label: None }
    }

    /// The same request with a label, which is shown as the holder instead of the line. Default:
    /// none.
    #[must_use]
    pub fn labelled(self, label: &'static str) -> Self {
        Self { label: Some(label), ..self }
    }

    /// The caller, its task included.
    #[inline]
    pub(crate) fn caller(&self) -> Caller {
        Caller { location: self.location, label: self.label, task: rt::task() }
    }

    /// The same request with a limit of its own.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit: Some(limit), ..self }
    }
}
