//! Classifies errors of `connect` and `ping` for the pool.

use crate::error::RedisError;
use millpond_core::ErrorClass;

/// Returns what an error of `connect` or `ping` means for the pool.
pub(crate) fn classify(error: &RedisError) -> ErrorClass {
    match error {
        RedisError::Setup { .. } => ErrorClass::Permanent,
        error if error.indicates_failover() => ErrorClass::Failover,
        RedisError::Server { code, message } => match code.as_str() {
            "WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED" => ErrorClass::Permanent,
            "ERR" if is_permanent(message) => ErrorClass::Permanent,
            _ => ErrorClass::Transient,
        },
        RedisError::Lost { .. } | RedisError::NotSent { .. } | RedisError::TimedOut { .. } => {
            ErrorClass::Transient
        }
        _ => ErrorClass::Connection,
    }
}

/// Errors that repeat: no such database, a password for a server without one, not a cluster or a
/// sentinel.
fn is_permanent(message: &str) -> bool {
    [
        "DB index",
        "SELECT is not allowed",
        "AUTH",
        "invalid password",
        "cluster support disabled",
        "No such master",
        "unknown command 'SENTINEL'",
        "unknown command `SENTINEL`",
        "unknown command 'CLUSTER'",
    ]
    .iter()
    .any(|text| message.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_the_server_are_transient_and_errors_about_the_caller_permanent() {
        for text in [
            "LOADING Redis is loading",
            "CLUSTERDOWN Hash slot not served",
            "ERR max number of clients reached",
        ] {
            assert_eq!(classify(&RedisError::of_server(text)), ErrorClass::Transient, "{text}");
        }
        for text in
            ["WRONGPASS invalid", "NOAUTH Authentication required.", "ERR DB index is out of range"]
        {
            assert_eq!(classify(&RedisError::of_server(text)), ErrorClass::Permanent, "{text}");
        }
        assert_eq!(
            classify(&RedisError::of_server("READONLY You can't write")),
            ErrorClass::Failover
        );
        assert_eq!(classify(&RedisError::Lost { reason: "x".into() }), ErrorClass::Transient);
    }
}
