//! Secrets: a string that does not print its content, and connection strings without their secrets.

use std::fmt;

use serde::{Serialize, Serializer};

/// The text printed in place of a secret.
pub(crate) const REDACTED: &str = "***";

/// A connection string, password or token: `Debug`, `Display` and `Serialize` show `***`, never the
/// content.
///
/// ```
/// use millpond_config::Secret;
///
/// let secret = Secret::new("postgresql://user:pass@localhost/dbname");
/// assert_eq!(format!("{secret} {secret:?}"), "*** ***");
/// assert_eq!(secret.expose(), "postgresql://user:pass@localhost/dbname");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    pub fn new(content: impl Into<String>) -> Self {
        Self(content.into())
    }

    /// Returns the content, unchanged. Pass it to the driver; do not print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(content: String) -> Self {
        Self(content)
    }
}

impl From<&str> for Secret {
    fn from(content: &str) -> Self {
        Self(content.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// Returns the printable parts of a connection string: scheme, user, host and path of known URLs,
/// and `***` for the rest.
///
/// Hides everything in doubt: a text without a known scheme, all of a query, and an authority that
/// does not look like hosts with ports (it may be a user and a password whose `@host` is missing).
fn redacted(text: &str) -> String {
    readable_url(text).unwrap_or_else(|| REDACTED.to_owned())
}

/// Returns the printable parts of a secret, shortened: see [`redacted`].
pub(crate) fn shown_secret(text: &str) -> String {
    short(&redacted(text))
}

/// Returns a value or a name for a message; hides it if it looks like a misplaced secret.
pub(crate) fn shown(text: &str) -> String {
    if text.contains('@') { shown_secret(text) } else { shown_path(text) }
}

/// Returns a path for a message. Unlike other texts a path may contain an `@`: systemd's
/// credentials do.
pub(crate) fn shown_path(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let suspicious =
        ["://", "password=", "passwd=", "pwd="].iter().any(|mark| lower.contains(mark));
    if suspicious { shown_secret(text) } else { short(text) }
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        short.push_str("...");
    }
    short
}

/// The most characters of a value or a name that a message repeats.
const SHOWN_MAX: usize = 120;

const SCHEMES: [&str; 8] =
    ["postgres", "postgresql", "mysql", "mariadb", "redis", "rediss", "valkey", "sqlite"];

fn readable_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    // In `postgresql+asyncpg` and `redis-cluster`, the first part decides.
    let family = scheme.split(['+', '-']).next()?;
    if !SCHEMES.contains(&family) {
        return None;
    }
    if family == "sqlite" {
        let (path, query) = without_query(rest);
        return names_a_file(rest, path).then(|| format!("{scheme}:{path}{query}"));
    }
    let rest = rest.strip_prefix("//")?;
    // The last `@`, since a password may contain an unescaped one.
    let Some((login, server)) = rest.rsplit_once('@') else {
        let (server, query) = without_query(rest);
        return names_only_hosts(server).then(|| format!("{scheme}://{server}{query}"));
    };
    // The `@` may belong to a path or a query, or all of this may be a password.
    if login.contains(['/', '?', '#']) {
        return None;
    }
    let (server, query) = without_query(server);
    if !names_only_hosts(server) {
        return None;
    }
    let login = match login.split_once(':') {
        Some((user, _)) => format!("{user}:{REDACTED}"),
        None => REDACTED.to_owned(),
    };
    Some(format!("{scheme}://{login}@{server}{query}"))
}

/// Splits off the query or fragment, and returns stars in its place.
fn without_query(text: &str) -> (&str, &str) {
    match text.find(['?', '#']) {
        Some(at) => (text.get(..at).unwrap_or_default(), "?***"),
        None => (text, ""),
    }
}

/// Returns true if this is only a file, without a user, a password or remains of them.
fn names_a_file(rest: &str, path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let is_drive = |at: usize| at == 1 && path.starts_with(|c: char| c.is_ascii_alphabetic());
    !rest.contains('@') && (path == ":memory:" || path.find(':').is_none_or(is_drive))
}

fn names_only_hosts(server: &str) -> bool {
    let authority = server.split('/').next().unwrap_or_default();
    authority.split(',').all(|host| {
        let (host, port) = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
            Some((_, "")) => return true,
            Some((_, port)) => match port.strip_prefix(':') {
                Some(port) => ("", port),
                None => return false,
            },
            None => host.split_once(':').unwrap_or((host, "")),
        };
        !host.contains(['[', ']'])
            && port.len() <= 5
            && port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_all_but_its_password_and_query() {
        for (url, readable) in [
            ("postgresql://user:pass@localhost/dbname", "postgresql://user:***@localhost/dbname"),
            (
                "postgresql+asyncpg://u:p@h:5432/d?sslmode=require",
                "postgresql+asyncpg://u:***@h:5432/d?***",
            ),
            ("mysql://u:p@ss@host/db", "mysql://u:***@host/db"),
            ("sqlite:///C:\\ponds\\x.db", "sqlite:///C:\\ponds\\x.db"),
            ("redis://:pass@host:6379/1", "redis://:***@host:6379/1"),
            ("redis://token@host", "redis://***@host"),
            ("redis://localhost:6379/1", "redis://localhost:6379/1"),
            ("redis://[::1]:6379/1", "redis://[::1]:6379/1"),
            ("redis-cluster://a:7000,b:7001", "redis-cluster://a:7000,b:7001"),
            ("postgres://h/d?password=pass", "postgres://h/d?***"),
            ("sqlite:///./x.db", "sqlite:///./x.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("sqlite://x.db?key=pass", "sqlite://x.db?***"),
        ] {
            assert_eq!(redacted(url), readable);
        }
    }

    #[test]
    fn everything_in_doubt_is_hidden() {
        for text in [
            "mysql://u:p@ss/w?x#y@host/db",
            "redis://localhost:6379/1?password=pa@ss",
            "postgres://u:pa@ss:word",
            "sqlite://x.db?key=pa@ss",
            "sqlite://user:pass",
            "redis://user:pa]ss",
            "12345",
            "",
            " x ",
            "postgres://user:pass",
            "postgres://user:pa/ss",
            "host=h password=pass",
            "s3cret://x",
        ] {
            assert_eq!(redacted(text), REDACTED, "{text}");
        }
    }

    #[test]
    fn a_message_repeats_no_misplaced_secret_and_no_long_text() {
        assert_eq!(shown("ten"), "ten");
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown("host=h password=pass"), REDACTED);
        assert_eq!(shown("user:pass@h"), REDACTED);
        assert_eq!(
            shown_path("/run/credentials/app@1.service/db_password"),
            "/run/credentials/app@1.service/db_password"
        );
        assert_eq!(shown_path("postgres://u:pass@h/d"), "postgres://u:***@h/d");
        assert_eq!(shown("postgres://u:pass@h/d"), "postgres://u:***@h/d");
        assert_eq!(shown(&"x".repeat(1_000_000)).len(), SHOWN_MAX + 3);
    }
}
