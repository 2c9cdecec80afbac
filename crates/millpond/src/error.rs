//! Errors of connecting a [`DatabaseConnection`](crate::DatabaseConnection).

use millpond_config::SettingsError;
use std::fmt;

/// Why connecting to a database failed.
///
/// `?` converts it to a [`sqlx::Error`], as code around sqlx expects. No message contains a
/// password. `Debug` is the same as `Display`, since `main` prints a returned error with `Debug`:
/// one problem per line.
#[non_exhaustive]
pub enum ConnectError {
    /// Invalid settings, including a URL that this build does not support.
    Settings(SettingsError),
    /// No layer of the settings sets the URL.
    NoUrl,
    /// The database does not support the settings, or no connection could be opened.
    Connect(sqlx::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settings(error) => fmt::Display::fmt(error, f),
            Self::NoUrl => f.write_str(
                "no connection string: set PSN_STORAGE_CONNECTION_STRING, or connection_string in \
                 the section [storage] of the settings file",
            ),
            Self::Connect(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl fmt::Debug for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message of the inner error is already this error's message, so the source is the
        // inner error's source.
        match self {
            Self::Settings(error) => error.source(),
            Self::NoUrl => None,
            Self::Connect(error) => error.source(),
        }
    }
}

impl From<SettingsError> for ConnectError {
    fn from(error: SettingsError) -> Self {
        Self::Settings(error)
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
