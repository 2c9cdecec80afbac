//! Why a URL was refused. Names parameters, never their values.

use sqlx::Error;
use std::fmt;

/// The form of one database's URLs: what differs from database to database.
#[derive(Debug, PartialEq, Eq)]
pub struct UrlForm {
    /// The database, as messages name it.
    pub database: &'static str,
    /// What stands before the `://`, in lower case; the first one is the one that messages show.
    pub schemes: &'static [&'static str],
    /// The drivers of SQLAlchemy that may stand behind a `+`; they change nothing.
    pub drivers: &'static [&'static str],
    /// The parameters that are known, as a list to be read.
    pub parameters: &'static str,
    /// What is said beside of some that are not known, by their names.
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
    /// It does not begin with a scheme of this database.
    Scheme,
    /// Its scheme asks for TLS, and schemes do not say that here.
    TlsScheme,
    /// It asks for a driver that we do not know.
    Driver(String),
    /// There is an `@` behind the host: an unescaped password, perhaps.
    Ambiguous,
    /// There is a `#` in it.
    Fragment,
    /// It names several hosts.
    Hosts,
    /// Its host is no host: there is a blank in it, or an address whose brackets are missing or
    /// hold none.
    Host,
    /// There is a blank before or behind it, or a line end or another character in it that nobody
    /// sees.
    Blank,
    /// Its port is no port.
    Port,
    /// It has a parameter without a value, or a password in it a `?` or `&`.
    NoValue,
    /// It has a parameter that we do not know.
    Parameter(String),
    /// It says one thing in two ways.
    Twice(String),
    /// It has a parameter whose value means nothing here, or contradicts another one.
    Value {
        /// The parameter.
        name: String,
        /// What it could be.
        expected: &'static str,
    },
    /// A part of it is not UTF-8, or has a NUL in it.
    Encoding(&'static str),
    /// The driver does not accept it.
    Refused,
}

impl UrlProblem {
    /// The error of a URL of this form.
    pub fn with_form(self, form: &'static UrlForm) -> UrlError {
        UrlError { form, problem: self }
    }
}

impl UrlError {
    /// What is wrong.
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
                write!(f, "the URL has an @ behind the host: {ESCAPES}, and @ elsewhere as %40")
            }
            UrlProblem::Fragment => write!(f, "the URL has a # in it: {ESCAPES}"),
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
                "the host of the URL is none: write no blanks, and an IPv6 address in \
                 brackets, as in [::1]",
            ),
            UrlProblem::Blank => f.write_str(
                "the URL has a blank before or behind it, or a line end or another character that \
                 nobody sees in it: leave it out, or write it as %20, %0A and their like",
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
            UrlProblem::Twice(name) => write!(f, "the URL gives {name:?} twice, and not the same"),
            UrlProblem::Value { name, expected } => {
                write!(f, "the URL parameter {name:?} has to be {expected}")
            }
            UrlProblem::Encoding(what) => {
                write!(f, "{what} of the URL is not UTF-8 or has a NUL in it")
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
