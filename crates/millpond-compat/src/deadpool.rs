//! Adapts managers written for deadpool.

use crate::classify::Classify;
use ::deadpool::managed::{Manager as ManagedManager, Metrics, RecycleError};
use millpond_core::{ConnectInfo, ErrorClass, Manager, Triage};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// A millpond manager that wraps a deadpool 0.13 manager.
///
/// deadpool has one method, `recycle`, both to clean a connection and to check that it is alive. It
/// is called when a lease ends, before the connection is lent again, and as ping. The metrics that
/// it gets are those of a new connection.
///
/// The wrapped manager's error must be a [`std::error::Error`] that is `Send` and `Sync`, like
/// those of all published managers.
pub struct Deadpool<M: ManagedManager> {
    manager: M,
    classify: Classify<M::Error>,
    recycles_on_return: bool,
}

impl<M: ManagedManager> Deadpool<M> {
    /// Wraps `manager`. Every connect error counts as transient: the pool retries until its
    /// callers' deadlines.
    pub fn new(manager: M) -> Self {
        Self { manager, classify: Classify::unset(), recycles_on_return: true }
    }

    /// Sets the function that classifies errors for the pool; for example, a wrong password is
    /// [`ErrorClass::Permanent`]. It must not block. The default is [`ErrorClass::Transient`].
    #[must_use]
    pub fn classify_with(
        mut self,
        classify: impl Fn(&M::Error) -> ErrorClass + Send + Sync + 'static,
    ) -> Self {
        self.classify.set(classify);
        self
    }

    /// Sets whether every connection is recycled when its lease ends. The default is true. If
    /// false, a return is faster, and `recycle` is only called as ping; that is enough for a
    /// manager whose `recycle` cleans nothing.
    #[must_use]
    pub fn recycle_on_return(mut self, on: bool) -> Self {
        self.recycles_on_return = on;
        self
    }

    /// Returns the wrapped manager.
    pub fn inner(&self) -> &M {
        &self.manager
    }
}

impl<M: ManagedManager + 'static> Manager for Deadpool<M>
where
    M::Type: 'static,
    M::Error: Error + Sync + 'static,
{
    type Connection = M::Type;
    type Error = DeadpoolError<M::Error>;

    async fn connect(&self, _info: &ConnectInfo) -> Result<M::Type, Self::Error> {
        self.manager.create().await.map_err(DeadpoolError::Backend)
    }

    async fn ping(&self, conn: &mut M::Type) -> Result<(), Self::Error> {
        self.manager.recycle(conn, &Metrics::default()).await.map_err(|error| match error {
            RecycleError::Backend(error) => DeadpoolError::Backend(error),
            RecycleError::Message(message) => DeadpoolError::Refused(message),
        })
    }

    fn triage(&self, _conn: &mut M::Type) -> Triage {
        if self.recycles_on_return { Triage::Reset } else { Triage::Keep }
    }

    async fn reset(&self, conn: &mut M::Type) -> Result<(), Self::Error> {
        self.ping(conn).await
    }

    async fn close(&self, mut conn: M::Type) -> Result<(), Self::Error> {
        self.manager.detach(&mut conn);
        Ok(())
    }

    fn classify(&self, error: &Self::Error) -> ErrorClass {
        match error {
            DeadpoolError::Backend(error) => self.classify.of(error),
            DeadpoolError::Refused(_) => ErrorClass::Connection,
        }
    }
}

impl<M: ManagedManager> fmt::Debug for Deadpool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadpool")
            .field("classify", &self.classify)
            .field("recycles_on_return", &self.recycles_on_return)
            .finish_non_exhaustive()
    }
}

/// Why a deadpool manager could not open or recycle a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum DeadpoolError<E> {
    /// An error of the manager's backend.
    Backend(E),
    /// The manager's own reason to reject the connection.
    Refused(Cow<'static, str>),
}

impl<E: fmt::Display> fmt::Display for DeadpoolError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::Refused(message) => f.write_str(message),
        }
    }
}

impl<E: Error + 'static> Error for DeadpoolError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Backend(error) => error.source(),
            Self::Refused(_) => None,
        }
    }
}
