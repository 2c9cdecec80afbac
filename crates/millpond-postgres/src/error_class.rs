//! Classifies SQLSTATEs, for the connection and for the pool.

use millpond_core::ErrorClass;
use millpond_sqlx::backend_api::{self, CacheValidity, ErrorImpact, driver_error_class};
use sqlx::Error;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// The server accepts no writes: perhaps after a failover, but `BEGIN READ ONLY` causes it as well.
const READ_ONLY: &str = "25006";

/// A protocol violation in PostgreSQL; PgBouncer uses it for all its errors.
pub(crate) const PROTOCOL_VIOLATION: &str = "08P01";

/// The server is shutting down, or this session was terminated.
const ADMIN_SHUTDOWN: &str = "57P01";

/// Classifies an error of `connect` or `ping` for the pool.
pub(crate) fn classify(error: &Error) -> ErrorClass {
    driver_error_class(error).unwrap_or_else(|| match server_error(error) {
        Some(server_error) if is_permanent(server_error.code()) => ErrorClass::Permanent,
        Some(server_error) if server_error.code() == PROTOCOL_VIOLATION => {
            classify_pooler_error(server_error.message())
        }
        Some(server_error) if is_transient(server_error.code()) => ErrorClass::Transient,
        Some(server_error) if is_fatal(server_error) || server_error.code() == READ_ONLY => {
            ErrorClass::Connection
        }
        _ => ErrorClass::Transient,
    })
}

/// Adds a hint to an error of a connect where the driver's message has none.
pub(crate) fn with_hint(error: Error) -> Error {
    let Error::Protocol(text) = &error else { return error };
    let hint = if text.contains("authentication method")
        || text.contains("SASL authentication mechanisms")
    {
        "the driver supports clear-text passwords, MD5 and SCRAM-SHA-256; configure one of them \
         for this user in pg_hba.conf"
    } else if ["SSLRequest", "unknown message type", "establish: unexpected"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        "what listens there does not speak PostgreSQL's protocol; check host and port"
    } else {
        return error;
    };
    Error::Configuration(format!("{text}: {hint}").into())
}

/// Returns what a statement's error means for its connection.
pub(crate) fn error_impact(error: &Error) -> ErrorImpact {
    match error {
        // The driver's own, raised before it sends anything.
        Error::Protocol(text) if text.contains("too many arguments for query") => {
            ErrorImpact::InSync
        }
        _ => backend_api::error_impact(error, server_error(error).is_none_or(is_fatal)),
    }
}

/// Returns true if an error may mean that the server has become or will become a standby.
pub(crate) fn is_suspicious(error: &Error) -> bool {
    server_error(error)
        .is_some_and(|server_error| matches!(server_error.code(), READ_ONLY | ADMIN_SHUTDOWN))
}

/// Returns what an error means for the driver's cached statements and types.
pub(crate) fn cache_validity(error: &Error) -> CacheValidity {
    match server_error(error) {
        Some(server_error) => {
            cache_validity_of(server_error.code(), server_error.routine(), server_error.message())
        }
        None => CacheValidity::Valid,
    }
}

/// Where the code has several meanings, the server's routine decides, since messages are
/// translated.
fn cache_validity_of(code: &str, routine: Option<&str>, message: &str) -> CacheValidity {
    match code {
        // There is no such prepared statement, or there is one of that name already.
        "26000" | "42P05" => CacheValidity::Outdated,
        // "cached plan must not change result type"
        "0A000" if routine == Some("RevalidateCachedQuery") => CacheValidity::Outdated,
        // This one is never translated.
        "XX000" if message.starts_with("cache lookup failed for") => CacheValidity::Outdated,
        // A wrong type: it may have replaced one of the same name.
        "42804" | "42809" | "42883" | "42704" => CacheValidity::Doubtful,
        _ => CacheValidity::Valid,
    }
}

/// Returns the error as the server's, if it is one.
pub(crate) fn server_error(error: &Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// Returns true if the server ends the session with such an error.
///
/// An error of severity ERROR that names a routine of PostgreSQL ends its statement, whatever its
/// code: a bind with the wrong number of arguments is 08P01, a foreign server that cannot be
/// reached is 08001, and RAISE takes any code. Poolers name no routine.
pub(crate) fn is_fatal(server_error: &PgDatabaseError) -> bool {
    matches!(server_error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
        || (server_error.routine().is_none() && ends_the_session(server_error.code()))
}

/// Shutdown, crash, idle timeouts, a lost connection: see
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn ends_the_session(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P04" | "57P05" | "25P03")
}

/// Login failures that a retry cannot fix: wrong password or role, no such database or one that
/// accepts no connections, no right to connect, a startup parameter that does not exist or has no
/// such value.
fn is_permanent(code: &str) -> bool {
    matches!(
        code,
        "28P01" | "28000" | "3D000" | "42501" | "42704" | "22023" | "0A000" | "55000" | "42622"
    )
}

/// Classifies PgBouncer's errors, which all have the same code, by their message, which is never
/// translated. Errors of its server are forwarded with their messages.
fn classify_pooler_error(message: &str) -> ErrorClass {
    const PERMANENT: [&str; 14] = [
        "no such database",
        "no such user",
        "does not exist",
        "authentication failed",
        "wrong password type",
        "auth failed",
        "no pg_hba.conf entry",
        "not allowed",
        "does not allow connections",
        "login rejected",
        "unsupported startup parameter",
        "SSL required",
        "TLS required",
        "bouncer config error",
    ];
    let is_transient = message.contains("no more connections allowed");
    let permanent = !is_transient && PERMANENT.iter().any(|text| message.contains(text));
    if permanent { ErrorClass::Permanent } else { ErrorClass::Transient }
}

/// The server is starting up, or full.
fn is_transient(code: &str) -> bool {
    code.starts_with("53") || code == "57P03"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_the_server_are_transient_and_errors_about_the_caller_permanent() {
        for code in ["28P01", "28000", "3D000"] {
            assert!(is_permanent(code) && !is_transient(code), "{code}");
        }
        for code in ["57P03", "53300"] {
            assert!(is_transient(code) && !is_permanent(code), "{code}");
        }
        // A timeout of a statement is neither, and leaves its connection alone.
        assert!(!ends_the_session("57014") && !is_permanent("57014") && !is_transient("57014"));
        for code in ["57P01", "57P05", "25P03", "08006"] {
            assert!(ends_the_session(code), "{code}");
        }
    }

    #[test]
    fn a_changed_schema_is_known_by_code_and_routine_in_every_language() {
        let outdated = |code, routine, message| {
            cache_validity_of(code, routine, message) == CacheValidity::Outdated
        };
        assert!(outdated(
            "0A000",
            Some("RevalidateCachedQuery"),
            "zwischengespeicherter Plan darf den Ergebnistyp nicht ändern"
        ));
        assert!(!outdated("0A000", Some("transformSelectStmt"), "x"));
        assert!(
            outdated("26000", None, "")
                && outdated("XX000", None, "cache lookup failed for type 16391")
        );
        assert!(!outdated("XX000", None, "unexpected") && !outdated("42804", None, ""));
        assert_eq!(cache_validity_of("23505", None, ""), CacheValidity::Valid);
    }

    #[test]
    fn a_poolers_errors_are_classified_by_their_message() {
        for message in [
            "no such database: x",
            "database \"x\" does not exist",
            "password authentication failed",
            "server login failed: FATAL password authentication failed for user \"x\"",
            "unsupported startup parameter: options",
            "SSL required",
        ] {
            assert_eq!(classify_pooler_error(message), ErrorClass::Permanent, "{message}");
        }
        for message in [
            "no more connections allowed (max_client_conn)",
            "query_wait_timeout",
            "server login has been failing, try again later (server_login_retry)",
            "pgbouncer cannot connect to server",
            "database \"x\" is disabled",
        ] {
            assert_eq!(classify_pooler_error(message), ErrorClass::Transient, "{message}");
        }
    }
}
