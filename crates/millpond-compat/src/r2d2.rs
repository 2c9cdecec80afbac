//! Adapts managers written for r2d2, whose methods block: each call runs on one of tokio's blocking
//! threads.

use crate::classify::Classify;
use ::r2d2::ManageConnection;
use millpond_core::{ConnectInfo, ErrorClass, Manager, Triage, catch_panic};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// A millpond manager that wraps an r2d2 0.8 manager.
///
/// The wrapped manager's methods run on tokio's blocking threads, so the pool must be used in a
/// tokio runtime. The connection type is [`R2d2Connection`]; its
/// [`interact`](R2d2Connection::interact) passes the connection to a closure on such a thread.
///
/// A call that exceeds the pool's time limit continues in its thread, and the connection is closed
/// there when the call ends: a blocking thread cannot be stopped.
pub struct R2d2<M: ManageConnection> {
    manager: Arc<M>,
    classify: Classify<M::Error>,
}

impl<M: ManageConnection> R2d2<M> {
    /// Wraps `manager`. Every connect error counts as transient: the pool retries until its
    /// callers' deadlines.
    pub fn new(manager: M) -> Self {
        Self { manager: Arc::new(manager), classify: Classify::unset() }
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

    /// Returns the wrapped manager.
    pub fn inner(&self) -> &M {
        &self.manager
    }
}

impl<M: ManageConnection> Manager for R2d2<M>
where
    M::Error: Send + Sync,
{
    type Connection = R2d2Connection<M::Connection>;
    type Error = R2d2Error<M::Error>;

    async fn connect(&self, _info: &ConnectInfo) -> Result<Self::Connection, Self::Error> {
        let manager = Arc::clone(&self.manager);
        let connected = run_blocking(move || manager.connect()).await;
        match connected.map_err(R2d2Error::Interact)? {
            Ok(conn) => Ok(R2d2Connection { conn: Some(conn) }),
            Err(error) => Err(R2d2Error::Backend(error)),
        }
    }

    async fn ping(&self, conn: &mut Self::Connection) -> Result<(), Self::Error> {
        let manager = Arc::clone(&self.manager);
        let checked = conn.interact(move |conn| manager.is_valid(conn)).await;
        checked.map_err(R2d2Error::Interact)?.map_err(R2d2Error::Backend)
    }

    fn triage(&self, conn: &mut Self::Connection) -> Triage {
        match conn.conn.as_mut().map(|conn| self.manager.has_broken(conn)) {
            Some(true) => Triage::Broken,
            Some(false) => Triage::Keep,
            None => Triage::Discard,
        }
    }

    async fn close(&self, conn: Self::Connection) -> Result<(), Self::Error> {
        // Dropping a connection may send something to its server.
        run_blocking(move || drop(conn)).await.map_err(R2d2Error::Interact)
    }

    fn classify(&self, error: &Self::Error) -> ErrorClass {
        match error {
            R2d2Error::Backend(error) => self.classify.of(error),
            R2d2Error::Interact(_) => ErrorClass::Connection,
        }
    }
}

impl<M: ManageConnection> fmt::Debug for R2d2<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("R2d2").field("classify", &self.classify).finish_non_exhaustive()
    }
}

/// A blocking connection, used on a blocking thread.
///
/// ```
/// use millpond_compat::R2d2;
/// use millpond_core::QueuePool;
/// use r2d2_sqlite::SqliteConnectionManager;
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let pool = QueuePool::builder(R2d2::new(SqliteConnectionManager::memory())).build()?;
/// let mut lease = pool.acquire().await?;
/// let one: i64 = lease.interact(|conn| conn.query_row("SELECT 1", [], |row| row.get(0))).await??;
/// assert_eq!(one, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct R2d2Connection<C> {
    /// `None` while a thread uses the connection, and forever if that call was not awaited.
    conn: Option<C>,
}

impl<C: Send + 'static> R2d2Connection<C> {
    /// Calls `work` with the connection on a blocking thread.
    ///
    /// # Errors
    ///
    /// [`InteractError::Panicked`] if `work` panics; the connection is dropped.
    /// [`InteractError::Lost`] if an earlier call was dropped before it completed, or panicked.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, `work` continues in its thread, the connection is dropped when it
    /// ends, and the pool opens another one in its place.
    pub async fn interact<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut C) -> T + Send + 'static,
    ) -> Result<T, InteractError> {
        let mut conn = self.conn.take().ok_or(InteractError::Lost)?;
        let worked = run_blocking(move || {
            let result = work(&mut conn);
            (conn, result)
        });
        let (conn, result) = worked.await?;
        self.conn = Some(conn);
        Ok(result)
    }
}

/// Runs `work` on a blocking thread.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InteractError> {
    let outcome = spawn_blocking(move || catch_panic(work)).await;
    outcome.map_err(|_| InteractError::ShutDown)?.map_err(InteractError::Panicked)
}

impl<C> fmt::Debug for R2d2Connection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("R2d2Connection").field("lost", &self.conn.is_none()).finish()
    }
}

/// Why [`R2d2Connection::interact`] returned no result.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InteractError {
    /// The closure panicked with this message.
    Panicked(String),
    /// The runtime was shut down before the closure ran.
    ShutDown,
    /// An earlier call on this connection was dropped before it completed, or panicked.
    Lost,
}

impl fmt::Display for InteractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(message) => {
                write!(f, "the work with the connection panicked: {message}")
            }
            Self::ShutDown => f.write_str("the runtime was shut down"),
            Self::Lost => f.write_str(
                "the connection is lost, because an earlier call was dropped before its end or \
                 panicked; return the lease and acquire another one",
            ),
        }
    }
}

impl Error for InteractError {}

/// Why an r2d2 manager could not open or check a connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum R2d2Error<E> {
    /// An error of the manager.
    Backend(E),
    /// The manager's method panicked, or had no thread to run on.
    Interact(InteractError),
}

impl<E: fmt::Display> fmt::Display for R2d2Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::Interact(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for R2d2Error<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Backend(error) => error.source(),
            Self::Interact(_) => None,
        }
    }
}
