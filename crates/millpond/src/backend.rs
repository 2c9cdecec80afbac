//! Which database a URL means, and the refusal of one that this build cannot use.

use millpond_config::{Refusal, nearest};
use std::fmt;

/// A kind of SQL database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// `postgres:`, `postgresql:`, with the feature `postgres`.
    Postgres,
    /// `mysql:`, `mariadb:`, with the feature `mysql`.
    MySql,
    /// `sqlite:`, with the feature `sqlite`.
    Sqlite,
}

/// The setting that holds the URL.
pub(crate) const CONNECTION_STRING: &str = "storage.connection_string";

/// The schemes that somebody may have meant who has written another.
const SCHEMES: [&str; 5] = ["sqlite", "postgresql", "postgres", "mysql", "mariadb"];

/// What a URL may look like.
const EXAMPLE: &str =
    "write a URL such as `sqlite:///./app.db` or `postgresql://user:password@host/database`";

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
    /// `+driver`, as SQLAlchemy has it (`postgresql+asyncpg:`), is passed over: the database
    /// decides, not the driver.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] of what is no URL of a SQL database.
    pub(crate) fn of(url: &str) -> Result<Self, Refusal> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(not_a_url(EXAMPLE.to_owned()));
        };
        if scheme.starts_with(['"', '\'']) {
            return Err(not_a_url("write it without the quotes".to_owned()));
        }
        let family = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
        let near = || {
            nearest(&family, SCHEMES)
                .map(|near| (near, if rest.starts_with("//") { "//" } else { "" }))
        };
        match family.as_str() {
            "sqlite" => Ok(Self::Sqlite),
            "postgres" | "postgresql" => Ok(Self::Postgres),
            "mysql" | "mariadb" => Ok(Self::MySql),
            "redis" | "rediss" | "valkey" | "redis-cluster" | "redis-sentinel" => Err(of_redis()),
            // Without the slashes it may be anything, a password too, and must not be repeated.
            _ if !rest.starts_with("//") || !is_scheme(scheme) => {
                Err(not_a_url(did_you_mean(near())))
            }
            _ => {
                let scheme: String =
                    scheme.chars().take(SCHEME_MAX).flat_map(char::escape_debug).collect();
                let message = format!("begins with `{scheme}://`, and no backend knows such URLs");
                let near = near();
                let may_ask_for_tls = family.contains("tls")
                    || family.contains("ssl")
                    || near.is_some_and(|(near, _)| family.strip_suffix('s') == Some(near));
                // Never from TLS to a connection that anybody can read.
                let tls = if may_ask_for_tls {
                    "for TLS add `?sslmode=require` to the URL; "
                } else {
                    ""
                };
                Err(refusal(message, format!("{tls}{}", did_you_mean(near))))
            }
        }
    }

    /// The refusal of a database that this build does not have.
    #[cfg(any(test, not(all(feature = "mysql", feature = "postgres", feature = "sqlite"))))]
    pub(crate) fn absent(self) -> Refusal {
        let feature = match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Sqlite => "sqlite",
        };
        let message = format!("needs the backend for {self}, which is not compiled in");
        refusal(message, format!("enable the feature `{feature}` of the crate `millpond`"))
    }
}

fn is_scheme(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// How much of a scheme is repeated.
const SCHEME_MAX: usize = 32;

fn not_a_url(help: String) -> Refusal {
    refusal("is not a URL that begins with the database's name".to_owned(), help)
}

fn refusal(message: String, help: String) -> Refusal {
    Refusal { setting: CONNECTION_STRING, message, help }
}

fn did_you_mean(near: Option<(&str, &str)>) -> String {
    near.map_or_else(
        || EXAMPLE.to_owned(),
        |(scheme, slashes)| format!("did you mean `{scheme}:{slashes}`?"),
    )
}

fn of_redis() -> Refusal {
    refusal(
        "is the URL of a Redis server, and DatabaseConnection speaks SQL".to_owned(),
        "pools for Redis are in the crate `millpond-redis`".to_owned(),
    )
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn told(url: &str) -> String {
        let refusal = Backend::of(url).map_or_else(|refusal| refusal, Backend::absent);
        format!("{}; {}", refusal.message, refusal.help)
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
        assert!(told("sqlite:///./x.db").contains("enable the feature `sqlite`"));
        for (url, feature) in
            [("postgresql://u:hunter2@h/d", "postgres"), ("mariadb://u:hunter2@h/d", "mysql")]
        {
            let text = told(url);
            assert!(
                text.contains(&format!("enable the feature `{feature}`"))
                    && !text.contains("hunter2"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_redis_url_is_refused_with_the_way_to_use_redis() {
        let text = told("rediss://:hunter2@localhost/0");
        assert!(text.contains("`millpond-redis`") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_misspelt_scheme_gets_a_suggestion() {
        for (url, help) in [
            ("sqllite:///./x.db", "did you mean `sqlite://`?"),
            ("sqlite3:///x.db", "did you mean `sqlite://`?"),
            ("SQLTIE+aiosqlite:///x.db", "did you mean `sqlite://`?"),
            ("sqllite::memory:", "did you mean `sqlite:`?"),
            ("postgersql://u:hunter2@h/d", "did you mean `postgresql://`?"),
            ("postgress://h/d", "did you mean `postgres://`?"),
            ("mysql2://u:hunter2@h/d", "did you mean `mysql://`?"),
            ("oracle://h/d", EXAMPLE),
        ] {
            assert!(told(url).ends_with(help), "{url}: {}", told(url));
        }
    }

    #[test]
    fn who_asks_for_tls_is_not_shown_the_way_to_a_plain_connection() {
        for url in [
            "mysqls://h/d",
            "postgresqls://h/d",
            "postgress://h/d",
            "mysql-ssl://h/d",
            "pgtls://h/d",
        ] {
            assert!(told(url).contains("sslmode=require"), "{url}: {}", told(url));
        }
        assert!(!told("mysql2://h/d").contains("sslmode"));
    }

    #[test]
    fn quotes_that_a_shell_has_left_are_noticed() {
        for url in ["\"postgres://u:hunter2@h/d\"", "'sqlite:///x.db'"] {
            assert!(told(url).ends_with("write it without the quotes"), "{url}: {}", told(url));
        }
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        assert!(told("oracle://u:hunter2@h/d").contains("`oracle://`"));
        for text in ["hunter2", "hunter2:x@host/db", "", ":", "host=h password=hunter2"] {
            assert!(told(text).contains("is not a URL"), "{text}");
            assert!(!told(text).contains("hunter2"), "{text}");
        }
    }
}
