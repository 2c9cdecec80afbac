//! Why a URL was refused. Names parameters, never their values.

use std::fmt;

/// Why a URL was refused. Names parameters, never their values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlError {
    /// Its scheme is not one of Redis. Carries the scheme that was probably meant, or nothing.
    Scheme(String),
    /// It has no host, or a host before the path of a socket.
    NoHost,
    /// Its host is malformed: it contains a blank, or an IPv6 address has no brackets.
    Host,
    /// There is a blank before or after it, or an invisible character in it.
    Blank,
    /// There is an `@` after the host, perhaps from an unescaped password.
    Ambiguous,
    /// There is a `#` in it.
    Fragment,
    /// It names several hosts for one server.
    Hosts,
    /// A port is not a number from 1 to 65535.
    Port,
    /// It has an unknown parameter. The name is empty where it may be a part of a password.
    Parameter(String),
    /// It sets a parameter twice, to different values.
    Twice(String),
    /// It has a parameter whose value is malformed or contradicts another one.
    Value {
        /// The parameter.
        name: String,
        /// What the value should be.
        expected: &'static str,
    },
    /// A part of it is not UTF-8.
    Encoding(&'static str),
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("in the Redis URL ")?;
        match self {
            Self::Scheme(meant) => {
                f.write_str(
                    "the scheme is not one of redis, rediss, redis-sentinel, redis-cluster (both \
                     with rediss as well), unix",
                )?;
                if meant.is_empty() { Ok(()) } else { write!(f, "; write {meant}://") }
            }
            Self::NoHost => {
                f.write_str("the host is missing (or stands before the path of a socket)")
            }
            Self::Host => f.write_str(
                "the host is malformed: write no blanks, and an IPv6 address in brackets, as \
                     in redis://[::1]:6379",
            ),
            Self::Blank => f.write_str(
                "there is a blank before or behind it, or a line end or another character that \
                 nobody sees: leave it out, or write it as %20, %0A and their like",
            ),
            Self::Ambiguous => f.write_str(
                "there is an @ behind the host; write / ? # @ and : in a user or password as %2F \
                 %3F %23 %40 and %3A",
            ),
            Self::Fragment => f.write_str("there is a #; in a password write it as %23"),
            Self::Hosts => f.write_str(
                "there are several hosts; for a cluster write redis-cluster://, for sentinels \
                 redis-sentinel://",
            ),
            Self::Port => f.write_str("a port is not a number from 1 to 65535"),
            Self::Parameter(name) if name.is_empty() => f.write_str(
                "a parameter is not known here, and not shown, since it may be a part of a \
                 password; write & and = in a password as %26 and %3D",
            ),
            Self::Parameter(name) => write!(
                f,
                "the parameter {name:?} is not known here; there are db, user, password, driver, \
                 protocol, tcp_keepalive, tcp_user_timeout, with TLS tls_ca, with a cluster or \
                 sentinels node, and with sentinels service, sentinel_user, \
                 sentinel_password, sentinel_tls (TLS is the scheme rediss)"
            ),
            Self::Twice(name) => write!(f, "{name:?} is given twice, and not as the same"),
            Self::Value { name, expected } => {
                write!(f, "the value of {name:?} should be {expected}")
            }
            Self::Encoding(what) => write!(f, "{what} is not UTF-8, or has a zero byte in it"),
        }
    }
}

impl std::error::Error for UrlError {}
