//! Parses connection URLs strictly, in SQLAlchemy's and sqlx's forms. Nothing is ignored.

use millpond_url::{is_parameter, parameters, percent_decode, single_line};
use sqlx::Error;
use sqlx::sqlite::SqliteConnectOptions;
use std::fmt;
use std::time::Duration;

/// The database that a URL names.
#[derive(Debug)]
pub(crate) enum Target {
    /// An in-memory database of the pool.
    Memory(SqliteConnectOptions),
    /// A file.
    File(SqliteConnectOptions),
}

/// Parses a URL.
pub(crate) fn parse(url: &str) -> Result<Target, SqliteUrlError> {
    let url = single_line(url).ok_or(SqliteUrlError::Blank)?;
    let (scheme, rest) = url.split_once(':').ok_or(SqliteUrlError::Scheme)?;
    check_scheme(scheme)?;
    let (database, query) = match rest.split_once('?') {
        Some((database, query)) => (database, Some(query)),
        None => (rest, None),
    };
    let path = path_of(database)?;
    let path = decode("the path", path)?;
    let parameters = Parameters::parse(query.unwrap_or_default())?;
    if path.is_empty() && database == "///" && parameters.mode != Mode::Memory {
        return Err(SqliteUrlError::EmptyPath);
    }
    if path.is_empty() || path == ":memory:" || parameters.mode == Mode::Memory {
        return parameters.memory().map(Target::Memory);
    }
    let name = match path.strip_prefix("file:") {
        Some(name) if parameters.uri => name.strip_prefix("//").unwrap_or(name),
        _ => &path,
    };
    match name {
        // SQLite would open a separate temporary file for each connection, and delete it
        // afterwards.
        "" => Err(SqliteUrlError::EmptyPath),
        // SQLite would read a name with this prefix as a URI with its own parameters.
        name if name.starts_with("file:") => {
            Ok(Target::File(parameters.file(&format!("./{name}"))))
        }
        name => Ok(Target::File(parameters.file(name))),
    }
}

fn check_scheme(scheme: &str) -> Result<(), SqliteUrlError> {
    let (database, driver) = match scheme.split_once('+') {
        Some((database, driver)) => (database, Some(driver)),
        None => (scheme, None),
    };
    if !database.eq_ignore_ascii_case("sqlite") {
        return Err(SqliteUrlError::Scheme);
    }
    match driver {
        None | Some("aiosqlite" | "pysqlite") => Ok(()),
        Some(driver) if is_parameter(driver) => Err(SqliteUrlError::Driver(driver.to_owned())),
        // It may be anything, as in `sqlite+x@y:`.
        Some(_) => Err(SqliteUrlError::Scheme),
    }
}

/// Returns the path of a file, or an empty string for an in-memory database. In SQLAlchemy's forms
/// the third slash belongs to the URL.
fn path_of(database: &str) -> Result<&str, SqliteUrlError> {
    match database.strip_prefix("//") {
        Some(after) => match after.strip_prefix('/') {
            Some(path) => Ok(path),
            // Two slashes and a name: sqlx's form of a relative path. With an `@` it is more likely
            // a server's URL.
            None if after.contains('@') => Err(SqliteUrlError::Host),
            None => Ok(after),
        },
        None if database.is_empty() => Err(SqliteUrlError::NoPath),
        None => Ok(database),
    }
}

/// SQLite's limit: milliseconds in 31 bits. The driver panics on more.
const BUSY_MAX: Duration = Duration::from_millis(i32::MAX as u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    ReadOnly,
    ReadWrite,
    /// Creates a missing file, as SQLAlchemy does.
    #[default]
    Create,
    Memory,
}

#[derive(Debug, Default)]
struct Parameters {
    mode: Mode,
    uri: bool,
    shared: bool,
    immutable: bool,
    vfs: Option<String>,
    busy: Option<Duration>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, SqliteUrlError> {
        let (mut found, mut given) = (Self::default(), Vec::new());
        for (name, value) in parameters(query) {
            let value = value.ok_or(SqliteUrlError::NoValue)?;
            let name = decode("a parameter", name)?;
            if !is_parameter(&name) {
                return Err(SqliteUrlError::NoValue);
            }
            let value = decode("a parameter", value)?;
            if given.iter().any(|(known, other)| *known == name && *other != value) {
                return Err(SqliteUrlError::Twice(name));
            }
            found.set(&name, &value)?;
            given.push((name, value));
        }
        Ok(found)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), SqliteUrlError> {
        let wrong =
            |expected: &'static str| SqliteUrlError::Value { name: name.to_owned(), expected };
        match name {
            "mode" => {
                self.mode = match value {
                    "ro" => Mode::ReadOnly,
                    "rw" => Mode::ReadWrite,
                    "rwc" => Mode::Create,
                    "memory" => Mode::Memory,
                    _ => return Err(wrong("ro, rw, rwc or memory")),
                }
            }
            "cache" => {
                self.shared = match value {
                    "private" => false,
                    "shared" => true,
                    _ => return Err(wrong("private or shared")),
                }
            }
            "immutable" => self.immutable = flag(value).ok_or_else(|| wrong("true or false"))?,
            "uri" => self.uri = flag(value).ok_or_else(|| wrong("true or false"))?,
            "vfs" => self.vfs = Some(value.to_owned()),
            "timeout" => {
                let seconds = value.parse().ok().and_then(|s| Duration::try_from_secs_f64(s).ok());
                let busy = seconds.filter(|busy| *busy <= BUSY_MAX);
                self.busy =
                    Some(busy.ok_or_else(|| wrong("a number of seconds, at most 2147483"))?);
            }
            _ => return Err(SqliteUrlError::Parameter(name.to_owned())),
        }
        Ok(())
    }

    fn memory(self) -> Result<SqliteConnectOptions, SqliteUrlError> {
        let refused =
            |name: &str, expected| Err(SqliteUrlError::Value { name: name.to_owned(), expected });
        match self {
            Self { shared: true, .. } => {
                refused("cache", "private for a database in memory: its pool has one connection")
            }
            Self { immutable: true, .. } => refused("immutable", "false for a database in memory"),
            Self { mode: Mode::ReadOnly, .. } => {
                refused("mode", "something else for a database in memory: it begins empty")
            }
            Self { vfs: Some(_), .. } => refused("vfs", "left out for a database in memory"),
            Self { busy, .. } => {
                Ok(with_busy(SqliteConnectOptions::new().filename(":memory:"), busy))
            }
        }
    }

    fn file(self, path: &str) -> SqliteConnectOptions {
        let mut options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(self.mode == Mode::ReadOnly)
            .create_if_missing(self.mode == Mode::Create)
            .shared_cache(self.shared)
            .immutable(self.immutable);
        if let Some(vfs) = self.vfs {
            options = options.vfs(vfs);
        }
        with_busy(options, self.busy)
    }
}

fn with_busy(options: SqliteConnectOptions, busy: Option<Duration>) -> SqliteConnectOptions {
    match busy {
        Some(busy) => options.busy_timeout(busy),
        None => options,
    }
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn decode(what: &'static str, text: &str) -> Result<String, SqliteUrlError> {
    percent_decode(text).ok_or(SqliteUrlError::Encoding(what))
}

/// Why a URL was refused. Names parameters, never their values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SqliteUrlError {
    /// The URL does not begin with `sqlite:`.
    Scheme,
    /// The driver is unknown.
    Driver(String),
    /// The URL begins or ends with a space, or contains a line break or another invisible
    /// character.
    Blank,
    /// The URL names no database.
    NoPath,
    /// The URL has three slashes and nothing after them.
    EmptyPath,
    /// The URL has a user or a host in place of a path.
    Host,
    /// A parameter has no value.
    NoValue,
    /// A parameter is unknown.
    Parameter(String),
    /// A parameter occurs twice, with two values.
    Twice(String),
    /// A parameter has an invalid value.
    Value {
        /// The parameter.
        name: String,
        /// The valid values.
        expected: &'static str,
    },
    /// A part of the URL is not UTF-8, or contains a NUL.
    Encoding(&'static str),
}

impl fmt::Display for SqliteUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FORMS: &str = "sqlite:///relative.db, sqlite:////absolute.db, sqlite:///:memory:, \
            sqlite::memory: or sqlite://";
        match self {
            Self::Scheme => write!(f, "a SQLite URL begins with sqlite: as in {FORMS}"),
            Self::Driver(driver) => write!(
                f,
                "unknown driver {driver:?} in the scheme: write sqlite:// alone (aiosqlite and \
                 pysqlite are accepted too)"
            ),
            Self::Blank => f.write_str(
                "the URL begins or ends with a blank, or contains a line end or another invisible \
                 character: remove it, or write it as %20, %0A and so on",
            ),
            Self::NoPath => write!(f, "the URL names no database: write {FORMS}"),
            Self::EmptyPath => write!(
                f,
                "the URL names no file after sqlite:///, as when a variable in a template is not \
                 set: write {FORMS}"
            ),
            Self::Host => write!(f, "a SQLite URL has no user and no host: write {FORMS}"),
            Self::NoValue => f.write_str(
                "a URL parameter has no value: write name=value, and ? and & in a path \
                     as %3F and %26",
            ),
            Self::Parameter(name) => {
                write!(
                    f,
                    "unknown URL parameter {name:?}: known are mode, cache, immutable, vfs, \
                     timeout and uri"
                )?;
                match name.as_str() {
                    "check_same_thread" | "isolation_level" | "cached_statements"
                    | "detect_types" | "factory" => {
                        f.write_str("; this one is about Python and can be left out")
                    }
                    _ => Ok(()),
                }
            }
            Self::Twice(name) => {
                write!(
                    f,
                    "the URL has the parameter {name:?} twice, and not the same: write it once"
                )
            }
            Self::Value { name, expected } => {
                write!(f, "the URL parameter {name:?} must be {expected}")
            }
            Self::Encoding(what) => write!(f, "{what} of the URL is not UTF-8 or has a NUL in it"),
        }
    }
}

impl std::error::Error for SqliteUrlError {}

impl From<SqliteUrlError> for Error {
    fn from(error: SqliteUrlError) -> Self {
        Self::Configuration(Box::new(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millpond_testkit::Garbler;
    use millpond_url::percent_encode;

    const CORPUS: &str = include_str!("../tests/corpus/urls.txt");

    fn file(url: &str) -> String {
        match parse(url).unwrap() {
            Target::File(options) => options.get_filename().display().to_string(),
            Target::Memory(_) => panic!("{url} is in memory"),
        }
    }

    #[test]
    fn a_path_is_never_mistaken_for_a_uri_with_parameters() {
        assert_eq!(file("sqlite:///file:x.db%3Fmode=memory"), "./file:x.db?mode=memory");
        assert_eq!(file("sqlite:file:x.db"), "./file:x.db");
        assert_eq!(file("sqlite:///file:x.db?uri=true"), "x.db");
        assert_eq!(file("sqlite:///file:///x.db?uri=true"), "/x.db");
        assert_eq!(
            file("sqlite:///file:file:x.db%3Fmode=memory?uri=true"),
            "./file:x.db?mode=memory"
        );
        assert_eq!(parse("sqlite:///file:?uri=true").unwrap_err(), SqliteUrlError::EmptyPath);
    }

    #[test]
    fn no_line_break_or_space_at_an_end_becomes_part_of_a_file_name() {
        for end in ["", "\n", "\r\n", "\r"] {
            assert_eq!(file(&format!("sqlite:////x/my app.db{end}")), "/x/my app.db");
        }
        for url in [
            "sqlite:////x.db ",
            " sqlite:////x.db",
            "sqlite:////x.db\n\n",
            "sqlite:////x\n.db",
            "sqlite:////x.db\u{a0}\n",
        ] {
            assert_eq!(parse(url).unwrap_err(), SqliteUrlError::Blank, "{url:?}");
        }
        assert_eq!(file("sqlite:////x.db%20"), "/x.db ");
    }

    #[test]
    fn three_slashes_are_relative_and_four_absolute() {
        assert_eq!(file("sqlite:///x.db"), "x.db");
        assert_eq!(file("sqlite:///./x.db"), "./x.db");
        assert_eq!(file("sqlite:////x.db"), "/x.db");
        assert_eq!(file("sqlite:///C:\\ponds\\x.db"), "C:\\ponds\\x.db");
    }

    #[test]
    fn no_text_makes_the_parser_panic_and_parsed_names_round_trip() {
        for seed in 0..20_000 {
            let url = Garbler::new(seed).line(CORPUS);
            if let Ok(Target::File(options)) = parse(&url) {
                let name = options.get_filename().to_str().unwrap().to_owned();
                assert!(!name.is_empty(), "{url:?}");
                assert_eq!(file(&format!("sqlite:///{}", percent_encode(&name))), name, "{url:?}");
            }
        }
    }

    #[test]
    fn text_that_looks_like_a_password_is_not_shown() {
        for seed in 0..20_000 {
            let mut garbler = Garbler::new(seed);
            let word =
                format!("{}hunter2{}", garbler.word(3), garbler.word(3)).replace(['?', '&'], "");
            let front = garbler.pick(&[
                "sqlite://user:",
                "sqlite:",
                "sqlite:///x.db?pass=",
                "sqlite:///x?mode=",
                "postgres://u:",
            ]);
            if let Err(error) = parse(&format!("{front}{word}@host")) {
                assert!(
                    !format!("{error} {error:?}").contains("hunter2"),
                    "{front}{word:?}: {error}"
                );
            }
        }
    }
}
