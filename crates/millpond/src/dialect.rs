//! The database that a URL names, and errors for URLs that this build cannot use.

use millpond_config::{Refusal, nearest};
use millpond_sqlx::backend_api::Syntax;
use std::fmt;

/// A kind of SQL database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// `postgres:`, `postgresql:`, with the feature `postgres`.
    Postgres,
    /// `mysql:`, `mariadb:`, with the feature `mysql`.
    MySql,
    /// `sqlite:`, with the feature `sqlite`.
    Sqlite,
}

/// The setting that holds the URL.
pub(crate) const CONNECTION_STRING: &str = "storage.connection_string";

/// Schemes offered as suggestions for a misspelt one.
const SCHEMES: [&str; 5] = ["sqlite", "postgresql", "postgres", "mysql", "mariadb"];

/// An example of a valid URL.
const EXAMPLE: &str =
    "write a URL such as `sqlite:///./app.db` or `postgresql://user:password@host/database`";

impl Dialect {
    /// Returns the name of the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
            Self::Sqlite => "SQLite",
        }
    }

    /// Returns how the database writes strings, names, comments and placeholders.
    pub(crate) fn syntax(self) -> Syntax {
        match self {
            Self::Postgres => Syntax::Postgres,
            Self::MySql => Syntax::MySql,
            Self::Sqlite => Syntax::Sqlite,
        }
    }

    /// Returns the database that a URL names, whether or not this build supports it.
    ///
    /// A `+driver`, as SQLAlchemy writes it (`postgresql+asyncpg:`), is ignored.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] if it is not the URL of an SQL database.
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
            // Without the slashes it may be anything, for example a password, and must not be
            // repeated.
            _ if !rest.starts_with("//") || !is_scheme(scheme) => {
                Err(not_a_url(did_you_mean(near())))
            }
            _ => {
                let scheme: String =
                    scheme.chars().take(SCHEME_MAX).flat_map(char::escape_debug).collect();
                let message = format!("begins with `{scheme}://`, which no backend supports");
                let near = near();
                let may_ask_for_tls = family.contains("tls")
                    || family.contains("ssl")
                    || near.is_some_and(|(near, _)| family.strip_suffix('s') == Some(near));
                // Never suggests an unencrypted connection to a user who asked for TLS.
                let tls = if may_ask_for_tls {
                    "for TLS add `?sslmode=require` to the URL; "
                } else {
                    ""
                };
                Err(refusal(message, format!("{tls}{}", did_you_mean(near))))
            }
        }
    }

    /// Returns the refusal of a database that this build does not support.
    #[cfg(any(test, not(all(feature = "mysql", feature = "postgres", feature = "sqlite"))))]
    pub(crate) fn feature_disabled(self) -> Refusal {
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

/// The longest part of a scheme that is repeated, in characters.
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

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn message(url: &str) -> String {
        let refusal = Dialect::of(url).map_or_else(|refusal| refusal, Dialect::feature_disabled);
        format!("{}; {}", refusal.message, refusal.help)
    }

    #[test]
    fn a_url_means_its_database_whatever_driver_it_names() {
        for (url, dialect) in [
            ("sqlite:///./x.db", Dialect::Sqlite),
            ("sqlite::memory:", Dialect::Sqlite),
            ("SQLite+aiosqlite:///x.db", Dialect::Sqlite),
            ("postgres://h/d", Dialect::Postgres),
            ("postgresql+asyncpg://h/d", Dialect::Postgres),
            ("mysql+aiomysql://h/d", Dialect::MySql),
            ("mariadb://h/d", Dialect::MySql),
        ] {
            assert_eq!(Dialect::of(url), Ok(dialect), "{url}");
        }
    }

    #[test]
    fn a_backend_that_is_off_is_named_with_its_feature() {
        assert!(message("sqlite:///./x.db").contains("enable the feature `sqlite`"));
        for (url, feature) in
            [("postgresql://u:hunter2@h/d", "postgres"), ("mariadb://u:hunter2@h/d", "mysql")]
        {
            let text = message(url);
            assert!(
                text.contains(&format!("enable the feature `{feature}`"))
                    && !text.contains("hunter2"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_redis_url_is_refused_with_the_way_to_use_redis() {
        let text = message("rediss://:hunter2@localhost/0");
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
            assert!(message(url).ends_with(help), "{url}: {}", message(url));
        }
    }

    #[test]
    fn a_url_with_tls_gets_no_hint_for_an_unencrypted_connection() {
        for url in [
            "mysqls://h/d",
            "postgresqls://h/d",
            "postgress://h/d",
            "mysql-ssl://h/d",
            "pgtls://h/d",
        ] {
            assert!(message(url).contains("sslmode=require"), "{url}: {}", message(url));
        }
        assert!(!message("mysql2://h/d").contains("sslmode"));
    }

    #[test]
    fn quotes_left_by_a_shell_are_reported() {
        for url in ["\"postgres://u:hunter2@h/d\"", "'sqlite:///x.db'"] {
            assert!(
                message(url).ends_with("write it without the quotes"),
                "{url}: {}",
                message(url)
            );
        }
    }

    #[test]
    fn a_text_that_is_no_url_is_not_repeated() {
        assert!(message("oracle://u:hunter2@h/d").contains("`oracle://`"));
        for text in ["hunter2", "hunter2:x@host/db", "", ":", "host=h password=hunter2"] {
            assert!(message(text).contains("is not a URL"), "{text}");
            assert!(!message(text).contains("hunter2"), "{text}");
        }
    }
}
