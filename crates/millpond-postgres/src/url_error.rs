//! Why a URL was refused. Names parameters, never their values.

use sqlx::Error;
use std::fmt;

/// Why a URL was refused. Names parameters, never their values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// It does not begin with `postgres://` or `postgresql://`.
    Scheme,
    /// It asks for a driver that we do not know.
    Driver(String),
    /// There is an `@` behind the host: an unescaped password, perhaps.
    Ambiguous,
    /// There is a `#` in it.
    Fragment,
    /// It names several hosts.
    Hosts,
    /// Its port is no port.
    Port,
    /// It has a parameter that we do not know.
    Parameter(String),
    /// It says one thing in two ways.
    Twice(String),
    /// It has a parameter whose value means nothing here, or contradicts another one.
    Value {
        /// The parameter.
        name: String,
        /// What it could be.
        wanted: &'static str,
    },
    /// A part of it is not UTF-8, or has a NUL in it.
    Encoding(&'static str),
    /// The driver does not accept it.
    Refused,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORM: &str = "postgres://user:password@host:port/database";
        const ESCAPES: &str = "in user and password write / as %2F, ? as %3F, # as %23 and % as %25";
        match self {
            Self::Scheme => write!(f, "a PostgreSQL URL begins with postgres:// or postgresql://, as in {FORM}"),
            Self::Driver(driver) => write!(
                f,
                "unknown driver {driver:?} in the scheme: write postgresql:// alone (asyncpg, psycopg, psycopg2 and \
                 pg8000 are accepted too)"
            ),
            Self::Ambiguous => write!(f, "the URL has an @ behind the host: {ESCAPES}, and @ elsewhere as %40"),
            Self::Fragment => write!(f, "the URL has a # in it: {ESCAPES}"),
            Self::Hosts => f.write_str("the URL names several hosts: make a pool for each, or name one"),
            Self::Port => write!(f, "the port of the URL is not a number from 1 to 65535: write {FORM}; {ESCAPES}"),
            Self::Parameter(name) => {
                write!(
                    f,
                    "unknown URL parameter {name:?}: known are sslmode, sslrootcert (ssl_ca), sslcert, sslkey, host, \
                     hostaddr, port, user, password, dbname, application_name, options and statement_cache_capacity"
                )?;
                f.write_str(match name.as_str() {
                    "ssl" | "tls" => "; for TLS write sslmode=require, or better sslmode=verify-full",
                    "connect_timeout" => "; the pool has a setting of this name",
                    _ => "",
                })
            }
            Self::Twice(name) => write!(f, "the URL gives {name:?} twice, and not the same"),
            Self::Value { name, wanted } => write!(f, "the URL parameter {name:?} has to be {wanted}"),
            Self::Encoding(what) => write!(f, "{what} of the URL is not UTF-8 or has a NUL in it"),
            Self::Refused => write!(f, "the driver does not accept the URL: write {FORM}"),
        }
    }
}

impl std::error::Error for UrlError {}

impl From<UrlError> for Error {
    fn from(error: UrlError) -> Self {
        Self::Configuration(Box::new(error))
    }
}
