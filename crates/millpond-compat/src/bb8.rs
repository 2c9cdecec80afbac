//! Adapts managers written for bb8.

use crate::classify::Classify;
use ::bb8::ManageConnection;
use millpond_core::{ConnectInfo, ErrorClass, Manager, Triage};
use std::error::Error;
use std::fmt;

/// A millpond manager that wraps a bb8 0.9 manager.
///
/// The wrapped manager's error must be a [`std::error::Error`] that is `Send` and `Sync`, like
/// those of all published managers.
pub struct Bb8<M: ManageConnection> {
    manager: M,
    classify: Classify<M::Error>,
}

impl<M: ManageConnection> Bb8<M> {
    /// Wraps `manager`. Every connect error counts as transient: the pool retries until its
    /// callers' deadlines.
    pub fn new(manager: M) -> Self {
        Self { manager, classify: Classify::unset() }
    }

    /// Sets the function that classifies errors for the pool; for example, a wrong password is
    /// [`ErrorClass::Permanent`]. It must not block.
    #[must_use]
    pub fn classify_with(
        mut self,
        classify: impl Fn(&M::Error) -> ErrorClass + Send + Sync + 'static,
    ) -> Self {
        self.classify.set(classify);
        self
    }

    /// Returns the wrapped manager.
    pub fn inner(&self) -> &M {
        &self.manager
    }
}

impl<M: ManageConnection> Manager for Bb8<M>
where
    M::Error: Error + Sync,
{
    type Connection = M::Connection;
    type Error = M::Error;

    async fn connect(&self, _info: &ConnectInfo) -> Result<M::Connection, M::Error> {
        self.manager.connect().await
    }

    async fn ping(&self, conn: &mut M::Connection) -> Result<(), M::Error> {
        self.manager.is_valid(conn).await
    }

    fn triage(&self, conn: &mut M::Connection) -> Triage {
        if self.manager.has_broken(conn) { Triage::Broken } else { Triage::Keep }
    }

    fn classify(&self, error: &M::Error) -> ErrorClass {
        self.classify.of(error)
    }
}

impl<M: ManageConnection> fmt::Debug for Bb8<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bb8").field("classify", &self.classify).finish_non_exhaustive()
    }
}
