//! Why a URL was refused. Names parameters, never their values.

use sqlx::Error;
use std::fmt;

/// The form of one database's URLs.
#[derive(Debug, PartialEq, Eq)]
pub struct UrlForm {
    /// The name of the database in messages.
    pub database: &'static str,
    /// The schemes, in lower case; messages show the first one.
    pub schemes: &'static [&'static str],
    /// SQLAlchemy's drivers that may follow after a `+`; they have no effect.
    pub drivers: &'static [&'static str],
    /// The supported parameters, as a list for messages.
    pub parameters: &'static str,
    /// Hints for well-known parameters that are not supported.
    pub hints: &'static [(&'static str, &'static str)],
}

/// Why a URL was refused. Names parameters, never their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError {
    form: &'static UrlForm,
    problem: UrlProblem,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlProblem {
    /// The URL does not begin with a scheme of this database.
    Scheme,
    /// The scheme asks for TLS, which is a parameter here.
    TlsScheme,
    /// The driver is unknown.
    Driver(String),
    /// There is an `@` after the host, perhaps from an unescaped password.
    Ambiguous,
    /// The URL contains a `#`.
    Fragment,
    /// The URL names several hosts.
    Hosts,
    /// The host is invalid: it contains a blank, or it is an IPv6 address with missing or misplaced
    /// brackets.
    Host,
    /// The URL begins or ends with a blank, or contains a line end or another invisible character.
    Blank,
    /// The port is invalid.
    Port,
    /// A parameter has no value, or a password contains a `?` or `&`.
    NoValue,
    /// A parameter is unknown.
    Parameter(String),
    /// The URL sets one thing to two values.
    Twice(String),
    /// A parameter's value is invalid, or contradicts another one.
    Value {
        /// The parameter.
        name: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A part is not UTF-8, or contains a NUL.
    Encoding(&'static str),
    /// The driver does not accept the URL.
    Refused,
}

impl UrlProblem {
    /// Converts the problem to the error of a URL of this form.
    pub fn with_form(self, form: &'static UrlForm) -> UrlError {
        UrlError { form, problem: self }
    }
}

impl UrlError {
    /// Returns what is wrong.
    pub fn problem(&self) -> &UrlProblem {
        &self.problem
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ESCAPES: &str =
            "in user and password write / as %2F, ? as %3F, # as %23 and % as %25";
        let UrlForm { database, schemes, drivers, parameters, hints } = self.form;
        let scheme = schemes.first().unwrap_or(database);
        let form = format!("{scheme}://user:password@host:port/database");
        match &self.problem {
            UrlProblem::Scheme => {
                let schemes: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
                write!(f, "a {database} URL begins with {}, as in {form}", schemes.join(" or "))
            }
            UrlProblem::TlsScheme => {
                write!(f, "the scheme does not ask for TLS here: write {form}?sslmode=..")?;
                match hints.iter().find(|(name, _)| *name == "tls") {
                    Some((_, hint)) => write!(f, "; {hint}"),
                    None => Ok(()),
                }
            }
            UrlProblem::Driver(driver) => {
                let known = drivers.join(", ");
                write!(
                    f,
                    "unknown driver {driver:?} in the scheme: write {scheme}:// alone (accepted \
                     are {known})"
                )
            }
            UrlProblem::Ambiguous => {
                write!(f, "the URL has an @ after the host: {ESCAPES}, and @ elsewhere as %40")
            }
            UrlProblem::Fragment => write!(f, "the URL contains a #: {ESCAPES}"),
            UrlProblem::Hosts => {
                f.write_str("the URL names several hosts: make a pool for each, or name one")
            }
            UrlProblem::Port => {
                write!(
                    f,
                    "the port of the URL is not a number from 1 to 65535: write {form}; {ESCAPES}"
                )
            }
            UrlProblem::Host => f.write_str(
                "the host of the URL is invalid: it must not contain blanks, and an IPv6 address \
                 must be in brackets, as in [::1]",
            ),
            UrlProblem::Blank => f.write_str(
                "the URL begins or ends with a blank, or contains a line end or another invisible \
                 character: remove it, or write it as %20, %0A and so on",
            ),
            UrlProblem::NoValue => write!(
                f,
                "a URL parameter has no value: write name=value; {ESCAPES}, and in the value of a \
                 parameter & as %26"
            ),
            UrlProblem::Parameter(name) => {
                write!(f, "unknown URL parameter {name:?}: known are {parameters}")?;
                match hints.iter().find(|(unknown, _)| unknown == name) {
                    Some((_, hint)) => write!(f, "; {hint}"),
                    None => Ok(()),
                }
            }
            UrlProblem::Twice(name) => write!(f, "the URL sets {name:?} to two values"),
            UrlProblem::Value { name, expected } => {
                write!(f, "the URL parameter {name:?} must be {expected}")
            }
            UrlProblem::Encoding(what) => {
                write!(f, "{what} of the URL is not UTF-8 or contains a NUL")
            }
            UrlProblem::Refused => write!(f, "the driver does not accept the URL: write {form}"),
        }
    }
}

impl std::error::Error for UrlError {}

impl From<UrlError> for Error {
    fn from(error: UrlError) -> Self {
        Self::Configuration(Box::new(error))
    }
}
