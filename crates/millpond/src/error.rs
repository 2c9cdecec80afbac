//! Why there is no [`DatabaseConnection`](crate::DatabaseConnection).

use crate::backend::NoBackend;
use millpond_config::SettingsError;
use std::fmt;

/// Why a database could not be connected to.
///
/// It becomes a [`sqlx::Error`] with `?`, as code around sqlx expects. No message holds a password.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The settings cannot be used; all that is wrong with them.
    Settings(SettingsError),
    /// No layer of the settings says where the database is.
    NoUrl,
    /// There is no backend for the URL.
    Backend(NoBackend),
    /// The driver does not understand the URL, or no connection could be opened.
    Connect(sqlx::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => error.fmt(f),
            Self::NoUrl => f.write_str(
                "no connection string: set PSN_STORAGE_CONNECTION_STRING, or connection_string in the section [storage] \
                 of the settings file",
            ),
            Self::Backend(error) => error.fmt(f),
            Self::Connect(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The messages of the inner errors are this one's, so their own causes come next.
        match self {
            Self::Settings(error) => error.source(),
            Self::NoUrl => None,
            Self::Backend(error) => error.source(),
            Self::Connect(error) => error.source(),
        }
    }
}

impl From<SettingsError> for ConnectError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
    }
}

impl From<NoBackend> for ConnectError {
    fn from(error: NoBackend) -> Self {
        Self::Backend(error)
    }
}

impl From<sqlx::Error> for ConnectError {
    fn from(error: sqlx::Error) -> Self {
        Self::Connect(error)
    }
}

impl From<ConnectError> for sqlx::Error {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Connect(error) => error,
            other => Self::Configuration(Box::new(other)),
        }
    }
}
