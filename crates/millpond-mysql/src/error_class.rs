//! Classifies MySQL's error numbers, for the connection and for the pool.
//!
//! The numbers: <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html> and
//! <https://mariadb.com/kb/en/mariadb-error-code-reference/>. SQLSTATE is too coarse: half of them
//! are HY000.

use millpond_core::ErrorClass;
use millpond_sqlx::backend_api::{self, CacheValidity, ErrorImpact, driver_error_class};
use sqlx::Error;
use sqlx::mysql::MySqlDatabaseError;

/// A wrong or missing password.
const ACCESS_DENIED: u16 = 1045;

/// No such savepoint, or procedure.
const NO_SUCH_SAVEPOINT: u16 = 1305;

/// Classifies an error of `connect` or `ping` for the pool.
pub(crate) fn classify(error: &Error) -> ErrorClass {
    driver_error_class(error).unwrap_or_else(|| {
        match server_error(error).map(MySqlDatabaseError::number) {
            Some(number) if is_permanent(number) => ErrorClass::Permanent,
            Some(number) if is_fatal(number) && !is_transient(number) => ErrorClass::Connection,
            _ => ErrorClass::Transient,
        }
    })
}

/// Adds a hint to an error of a connect where the driver's message has none.
pub(crate) fn with_hint(error: Error, over_a_socket: bool) -> Error {
    let number = server_error(&error).map(MySqlDatabaseError::number);
    if over_a_socket && number == Some(ACCESS_DENIED) {
        let hint = "if the password is correct, the account may use caching_sha2_password, whose \
                    password the driver sends over a Unix socket only with TLS: give the server a \
                    certificate, or connect by TCP";
        return Error::Configuration(format!("{error}: {hint}").into());
    }
    let Error::Protocol(text) = &error else { return error };
    let hint = if text.contains("mysql_cleartext_plugin") {
        "the server asks for the password in clear text, which the driver sends only with \
         MySqlConnectOptions::enable_cleartext_plugin(true); use that only over TLS"
    } else if ["authentication plugin", "auth plugin", "expected 21 bytes"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        "the driver supports mysql_native_password, caching_sha2_password, sha256_password and \
         mysql_clear_password; give the account one of them (ALTER USER .. IDENTIFIED VIA, or \
         WITH)"
    } else {
        return error;
    };
    Error::Configuration(format!("{text}: {hint}").into())
}

/// Returns what a statement's error means for its connection.
pub(crate) fn error_impact(error: &Error) -> ErrorImpact {
    let is_fatal = server_error(error).is_none_or(|error| is_fatal(error.number()));
    backend_api::error_impact(error, is_fatal)
}

/// Returns true if an error may mean that the server has been or will be demoted.
pub(crate) fn is_suspicious(error: &Error) -> bool {
    server_error(error).is_some_and(|server_error| may_indicate_failover(server_error.number()))
}

/// Returns true if one of the driver's savepoints does not exist.
pub(crate) fn is_savepoint_gone(error: &Error) -> bool {
    server_error(error).is_some_and(|server_error| {
        server_error.number() == NO_SUCH_SAVEPOINT
            && server_error.message().contains("_sqlx_savepoint_")
    })
}

/// Returns what an error means for the driver's prepared statements.
pub(crate) fn cache_validity(error: &Error) -> CacheValidity {
    match server_error(error).map(MySqlDatabaseError::number) {
        // No such prepared statement; a statement must be prepared again; too many prepared
        // statements.
        Some(1243 | 1461 | 1615) => CacheValidity::Outdated,
        _ => CacheValidity::Valid,
    }
}

/// Returns the error as the server's, if it is one.
pub(crate) fn server_error(error: &Error) -> Option<&MySqlDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}

/// Returns true if the server ends the session with such an error.
pub(crate) fn is_fatal(number: u16) -> bool {
    matches!(
        number,
        // Shutting down; killed; connection aborted; idle for too long.
        1053 | 1080 | 1152 | 1184 | 1927 | 3169 | 4031
        // A packet that is too large, cannot be read, or did not come in time.
        | 1153 | 1154 | 1155 | 1156 | 1157 | 1158 | 1159 | 1160 | 1161 | 1835
        // Gone away, lost: numbers of the client library, which proxies send.
        | 2006 | 2013
    )
}

/// The server refuses writes (1290, but `--secure-file-priv` and others cause that as well; 1836),
/// or shuts down.
fn may_indicate_failover(number: u16) -> bool {
    matches!(number, 1290 | 1836 | 1053)
}

/// Login failures that a retry cannot fix.
fn is_permanent(number: u16) -> bool {
    matches!(
        number,
        // Wrong password, user or database, and no right to this one.
        1044 | 1045 | 1049 | 1698
        // A host that is blocked or may not connect; an account that is locked, or whose password
        // has expired.
        | 1129 | 1130 | 1820 | 1862 | 3118 | 4151
        | 3955 | 1227
        // An authentication method that one side does not support, or no TLS where it is required;
        // another protocol.
        | 1251 | 1524 | 3159 | 1043
        // An invalid name of a database or a user.
        | 1102 | 1059 | 1470
        // A character set, collation, time zone or variable that sqlx sets and the server does not
        // support.
        | 1115 | 1193 | 1231 | 1253 | 1273 | 1298
    )
}

/// The server is full or shutting down, perhaps to restart: a connect may be retried.
fn is_transient(number: u16) -> bool {
    matches!(number, 1040 | 1053 | 1203 | 1226)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_the_server_are_transient_and_errors_about_the_caller_permanent() {
        for number in [1044, 1045, 1049, 1102, 1698, 1130, 3159] {
            assert!(is_permanent(number) && !is_transient(number), "{number}");
        }
        for number in [1040, 1203, 1226, 1053] {
            assert!(is_transient(number) && !is_permanent(number), "{number}");
        }
        for number in [1053, 1927, 3169, 4031, 2006, 2013, 1153] {
            assert!(is_fatal(number), "{number}");
        }
        // A syntax error, a duplicate, a deadlock, a lock that was not had, an interrupted query, a
        // limit of time: the statement is over and the session is not.
        for number in [1064, 1062, 1213, 1205, 1317, 1969, 3024] {
            assert!(
                !is_fatal(number) && !is_permanent(number) && !is_transient(number),
                "{number}"
            );
        }
    }

    #[test]
    fn a_server_that_refuses_writes_or_shuts_down_is_suspected_and_no_other() {
        for number in [1290, 1836, 1053] {
            assert!(may_indicate_failover(number), "{number}");
        }
        for number in [1064, 1062, 1213, 1792, 1927, 2013] {
            assert!(!may_indicate_failover(number), "{number}");
        }
    }
}
