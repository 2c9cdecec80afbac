//! Converts pool errors to `sqlx::Error` and back.

use millpond_core::{ConfigError, PoolError, PoolKind, RequestRefusal};
use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};
use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::iter;
use std::mem;
use std::sync::Arc;

/// Returns the pool's own error if the error came from the pool, with its cause, the oldest holders
/// and the pool's status.
///
/// | `sqlx::Error` | meaning |
/// |---|---|
/// | `Io` of kind `TimedOut` | the deadline passed; with `sqlx_timeouts` it is `PoolTimedOut`, which gives `None` here |
/// | `PoolClosed` | the pool is closed |
/// | `Io` of kind `ResourceBusy` | there are too many waiters |
/// | `Database`, `Io`, `Tls`, `Configuration` | no connection could be opened; the kind is that of the cause |
/// | `Io` of kind `Other` | a hook refused the request with an error of its own; an `sqlx::Error` of a hook is returned as it is, and gives `None` here |
///
/// On the `Database` error of a refused connect `downcast_ref` and `try_downcast_ref` return the
/// driver's own error. The pool keeps the last one for later callers, so sqlx's `try_downcast`,
/// which takes it, panics there.
///
/// ```
/// # use millpond_sqlx::{PoolError, pool_error};
/// assert!(pool_error(&sqlx::Error::PoolClosed).is_some_and(PoolError::is_closed));
/// assert!(pool_error(&sqlx::Error::RowNotFound).is_none());
/// ```
pub fn pool_error(error: &Error) -> Option<&PoolError> {
    static CLOSED: PoolError = PoolError::Closed;
    match error {
        Error::PoolClosed => Some(&CLOSED),
        Error::Io(error) => error.get_ref()?.downcast_ref(),
        Error::Tls(error) | Error::Configuration(error) => error.downcast_ref(),
        // sqlx implements `Error` for the box too, without a source.
        Error::Database(error) => (**error).source()?.downcast_ref(),
        _ => None,
    }
}

/// Returns the error for a pool kind that the backend does not support.
pub fn unsupported_pool(kind: PoolKind, backend: &str) -> Error {
    Error::Configuration(
        format!("pool = {kind} is not supported by {backend}; choose queue or null").into(),
    )
}

/// Converts the error of refused settings.
pub fn config_error(error: ConfigError) -> Error {
    Error::Configuration(Box::new(error))
}

/// Converts the error of an acquire; [`pool_error`] reads it back.
pub fn lending_error(error: PoolError) -> Error {
    let error = match error {
        PoolError::RequestRefused(refusal) => match own_error(refusal) {
            Ok(error) => return error,
            Err(refusal) => PoolError::RequestRefused(refusal),
        },
        error => error,
    };
    match &error {
        PoolError::RequestRefused(_) => io::Error::other(error).into(),
        PoolError::Closed => Error::PoolClosed,
        PoolError::TimedOut(_) => io::Error::new(io::ErrorKind::TimedOut, error).into(),
        PoolError::TooManyWaiters { .. } => {
            io::Error::new(io::ErrorKind::ResourceBusy, error).into()
        }
        _ => match driver_error(&error) {
            Some(Error::Database(_)) => Error::Database(Box::new(ConnectRefused(error))),
            Some(Error::Configuration(_)) => Error::Configuration(Box::new(error)),
            Some(Error::Tls(_)) => Error::Tls(Box::new(error)),
            Some(Error::Io(cause)) => io::Error::new(cause.kind(), error).into(),
            _ => io::Error::other(error).into(),
        },
    }
}

/// Converts the error of an acquire as sqlx's pool would. The text of a timeout is logged, since
/// sqlx's error has no place for it.
pub(crate) fn sqlx_error(error: PoolError) -> Error {
    if let PoolError::TimedOut(_) = error {
        tracing::warn!(%error, "acquire timed out");
        return Error::PoolTimedOut;
    }
    lending_error(error)
}

/// Returns the `sqlx::Error` with which a hook refused a request, if it was one.
fn own_error(refusal: Arc<RequestRefusal>) -> Result<Error, Arc<RequestRefusal>> {
    let refusal = Arc::try_unwrap(refusal)?;
    let own = refusal.into_inner().downcast::<Error>();
    own.map(|error| *error).map_err(|error| Arc::new(RequestRefusal::new(error)))
}

/// Finds the driver's error among the causes of a pool's error.
fn driver_error(error: &PoolError) -> Option<&Error> {
    iter::successors(error.source(), |&cause| cause.source()).find_map(|cause| cause.downcast_ref())
}

/// The database refused a connection: the pool's error, with the database's code and message.
///
/// `downcast_ref` returns the driver's own error. `downcast` and `try_downcast` return it too if
/// nobody else has the same one, neither the pool nor another caller, and panic otherwise.
#[derive(Debug)]
struct ConnectRefused(PoolError);

impl ConnectRefused {
    fn database_error(&self) -> Option<&dyn DatabaseError> {
        driver_error(&self.0).and_then(Error::as_database_error)
    }
}

impl fmt::Display for ConnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match driver_error(&self.0) {
            // sqlx writes "error returned from database" before this text, and has already written
            // it before the cause.
            Some(cause @ Error::Database(refusal)) => {
                f.write_str(&text.replacen(&cause.to_string(), &refusal.to_string(), 1))
            }
            _ => f.write_str(&text),
        }
    }
}

impl StdError for ConnectRefused {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // By which it is recognised.
        Some(&self.0)
    }
}

impl DatabaseError for ConnectRefused {
    fn message(&self) -> &str {
        self.database_error().map_or("no connection could be opened", |refusal| refusal.message())
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        self.database_error()?.code()
    }

    fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.database_error().map_or(self, |refusal| refusal.as_error())
    }

    fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
        self
    }

    fn into_error(mut self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
        if let PoolError::Connect { source, .. } = &mut self.0
            && let Some(error) = Arc::get_mut(source).and_then(|error| error.downcast_mut())
            && let Error::Database(refusal) = mem::replace(error, Error::WorkerCrashed)
        {
            return refusal.into_error();
        }
        self
    }

    fn kind(&self) -> ErrorKind {
        self.database_error().map_or(ErrorKind::Other, |refusal| refusal.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn connect_error(cause: Error) -> Error {
        lending_error(PoolError::Connect { attempts: 3, source: Arc::new(cause) })
    }

    #[test]
    fn every_error_of_the_pool_can_be_read_back() {
        for error in
            [PoolError::Closed, PoolError::NoRuntime, PoolError::TooManyWaiters { limit: 4 }]
        {
            let text = error.to_string();
            let error = lending_error(error);
            assert_eq!(pool_error(&error).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_connect_failure_keeps_the_kind_and_the_text_of_its_cause() {
        let error = connect_error(Error::Io(io::ErrorKind::ConnectionRefused.into()));
        assert!(matches!(&error, Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused));
        assert!(matches!(pool_error(&error), Some(PoolError::Connect { attempts: 3, .. })));

        let error = connect_error(Error::Configuration("no such thing".into()));
        assert!(matches!(&error, Error::Configuration(_)));
        assert!(error.to_string().contains("no such thing"), "{error}");
        assert!(pool_error(&error).is_some());
    }

    #[test]
    fn an_error_that_is_not_the_pools_is_not_mistaken_for_one() {
        assert!(pool_error(&Error::RowNotFound).is_none());
        assert!(pool_error(&Error::Io(io::ErrorKind::TimedOut.into())).is_none());
        assert!(pool_error(&Error::Configuration("x".into())).is_none());
    }

    #[derive(Debug)]
    struct Refusal;

    impl fmt::Display for Refusal {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no such user")
        }
    }

    impl StdError for Refusal {}

    impl DatabaseError for Refusal {
        fn message(&self) -> &str {
            "no such user"
        }

        fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
            self
        }

        fn as_error_mut(&mut self) -> &mut (dyn StdError + Send + Sync + 'static) {
            self
        }

        fn into_error(self: Box<Self>) -> Box<dyn StdError + Send + Sync + 'static> {
            self
        }

        fn kind(&self) -> ErrorKind {
            ErrorKind::Other
        }
    }

    #[test]
    fn a_refused_connect_shows_the_drivers_own_error_and_the_pools() {
        let error = connect_error(Error::Database(Box::new(Refusal)));
        let refusal = error.as_database_error().unwrap();
        assert_eq!(refusal.downcast_ref::<Refusal>().message(), "no such user");
        assert_eq!(refusal.message(), "no such user");
        assert!(matches!(pool_error(&error), Some(PoolError::Connect { attempts: 3, .. })));
        assert!(pool_error(&Error::Database(Box::new(Refusal))).is_none());
        let Error::Database(error) = error else { panic!("{error}") };
        assert_eq!(error.try_downcast::<Refusal>().unwrap().message(), "no such user");
    }
}
