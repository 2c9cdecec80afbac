//! Which database a URL means, and the error when there is no backend for it.

use std::fmt;

/// A kind of SQL database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// `postgres:`, `postgresql:`. Not built yet.
    Postgres,
    /// `mysql:`, `mariadb:`. Not built yet.
    MySql,
    /// `sqlite:`, with the feature `sqlite`.
    Sqlite,
}

impl Backend {
    /// The name as its makers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        }
    }

    /// The backend that a URL asks for, whether or not this build has it.
    ///
    /// `+driver`, as SQLAlchemy has it (`postgresql+asyncpg:`), is passed over: the database decides, not the driver.
    ///
    /// # Errors
    ///
    /// [`NoBackend`] for what is no URL of a SQL database.
    pub(crate) fn of(url: &str) -> Result<Self, NoBackend> {
        let Some((scheme, rest)) = url.split_once(':') else { return Err(NoBackend(Lack::NotAUrl)) };
        match scheme.split('+').next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "mysql" | "mariadb" => Ok(Self::MySql),
            "redis" | "rediss" | "valkey" | "redis-cluster" | "redis-sentinel" => Err(NoBackend(Lack::NotSql)),
            // Without the slashes it may be anything, a password too, and must not be repeated.
            _ if rest.starts_with("//") => Err(NoBackend(Lack::Unknown { scheme: scheme.escape_debug().to_string() })),
            _ => Err(NoBackend(Lack::NotAUrl)),
        }
    }

    /// The error that this build does not have it.
    pub(crate) fn absent(self) -> NoBackend {
        NoBackend(match self {
            Self::Sqlite => Lack::Off { backend: self, feature: "sqlite" },
            Self::Postgres => Lack::Unbuilt { backend: self, feature: "postgres" },
            Self::MySql => Lack::Unbuilt { backend: self, feature: "mysql" },
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A URL for which this build has no backend. The message says which feature to enable, or that there is none yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoBackend(Lack);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Lack {
    /// There is such a feature, and it is off.
    Off {
        backend: Backend,
        feature: &'static str,
    },
    /// There will be such a feature.
    Unbuilt {
        backend: Backend,
        feature: &'static str,
    },
    NotSql,
    Unknown {
        scheme: String,
    },
    NotAUrl,
}

impl NoBackend {
    /// The database that another build, or a later version, can speak to; `None` if the URL is at fault.
    pub fn backend(&self) -> Option<Backend> {
        match self.0 {
            Lack::Off { backend, .. } | Lack::Unbuilt { backend, .. } => Some(backend),
            Lack::NotSql | Lack::Unknown { .. } | Lack::NotAUrl => None,
        }
    }
}

impl fmt::Display for NoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Lack::Off { backend, feature } => {
                write!(f, "the backend for {backend} is not compiled in: enable the feature `{feature}` of the crate `millpond`")
            }
            Lack::Unbuilt { backend, feature } => write!(
                f,
                "this version of millpond has no backend for {backend} yet: it will come as the feature `{feature}`, \
                 and today the only one is `sqlite`"
            ),
            Lack::NotSql => f.write_str(
                "this is the URL of a Redis server, and DatabaseConnection speaks SQL; pools for Redis will come as the \
                 feature `redis`, which this version of millpond does not have yet",
            ),
            Lack::Unknown { scheme } => write!(f, "no backend knows URLs that begin with `{scheme}://`; try `sqlite:///./app.db`"),
            Lack::NotAUrl => {
                f.write_str("the connection string is not a URL that begins with the database's name, such as `sqlite:///./app.db`")
            }
        }
    }
}

impl std::error::Error for NoBackend {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refusal(url: &str) -> String {
        match Backend::of(url) {
            Ok(backend) => backend.absent().to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_url_means_its_database_whatever_driver_it_names() {
        for (url, backend) in [
            ("sqlite:///./x.db", Backend::Sqlite),
            ("sqlite::memory:", Backend::Sqlite),
            ("SQLite+aiosqlite:///x.db", Backend::Sqlite),
            ("postgres://h/d", Backend::Postgres),
            ("postgresql+asyncpg://h/d", Backend::Postgres),
            ("mysql+aiomysql://h/d", Backend::MySql),
            ("mariadb://h/d", Backend::MySql),
        ] {
            assert_eq!(Backend::of(url), Ok(backend), "{url}");
        }
    }

    #[test]
    fn a_backend_that_is_off_is_named_with_its_feature() {
        assert!(refusal("sqlite:///./x.db").contains("enable the feature `sqlite`"));
    }

    #[test]
    fn a_backend_that_is_not_built_yet_is_not_promised() {
        for (url, feature) in [
            ("postgresql://user:pass@localhost/dbname", "postgres"),
            ("mariadb://user:pass@localhost/dbname", "mysql"),
            ("rediss://:pass@localhost/0", "redis"),
        ] {
            let text = refusal(url);
            assert!(text.contains(&format!("feature `{feature}`")), "{text}");
            assert!(text.contains("yet"), "{text}");
            assert!(!text.contains("pass"), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        assert!(refusal("oracle://u:hunter2@h/d").contains("`oracle://`"));
        for text in ["hunter2", "hunter2:x@host/db", "", ":", "host=h password=hunter2"] {
            assert!(refusal(text).contains("is not a URL"), "{text}");
            assert!(!refusal(text).contains("hunter2"), "{text}");
        }
    }
}
