//! Classifies errors: those of the driver alike for every server, those of the server as its
//! backend says.

use crate::backend::ErrorImpact;
use crate::failover::is_failover;
use millpond_core::ErrorClass;
use sqlx::Error;
use std::io::ErrorKind;

/// Classifies an error of `connect` or `ping` for the pool, if the server did not report it.
pub fn driver_error_class(error: &Error) -> Option<ErrorClass> {
    match error {
        _ if is_failover(error) => Some(ErrorClass::Failover),
        Error::Configuration(_) | Error::InvalidArgument(_) | Error::Tls(_) => {
            Some(ErrorClass::Permanent)
        }
        // rustls reports this for a certificate that it does not accept.
        Error::Io(error) if error.kind() == ErrorKind::InvalidData => Some(ErrorClass::Permanent),
        Error::Io(_) => Some(ErrorClass::Transient),
        Error::Protocol(_) | Error::WorkerCrashed => Some(ErrorClass::Connection),
        _ => None,
    }
}

/// Returns what a statement's error means for its connection. `is_fatal` says whether the server
/// ends the session with such an error.
pub fn error_impact(error: &Error, is_fatal: bool) -> ErrorImpact {
    match error {
        Error::Database(_) if !is_fatal => ErrorImpact::InSync,
        Error::Database(_)
        | Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::WorkerCrashed => ErrorImpact::Broken,
        _ => ErrorImpact::Doubt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_refused_connection_passes_and_a_refused_certificate_does_not() {
        assert_eq!(
            driver_error_class(&Error::Io(ErrorKind::ConnectionRefused.into())),
            Some(ErrorClass::Transient)
        );
        for error in [
            Error::Io(io::Error::new(ErrorKind::InvalidData, "certificate")),
            Error::Tls("server does not support TLS".into()),
            Error::Configuration("x".into()),
        ] {
            assert_eq!(driver_error_class(&error), Some(ErrorClass::Permanent), "{error}");
        }
    }

    #[test]
    fn an_error_of_the_transport_ends_the_connection() {
        for error in [Error::Io(ErrorKind::BrokenPipe.into()), Error::Protocol("x".into())] {
            assert_eq!(error_impact(&error, false), ErrorImpact::Broken);
        }
        assert_eq!(error_impact(&Error::BeginFailed, false), ErrorImpact::Doubt);
    }
}
