//! What an error of `connect` or `ping` means for the pool.

use crate::error::RedisError;
use millpond_core::Fault;

/// What an error of `connect` or `ping` means for the pool.
pub(crate) fn classify(error: &RedisError) -> Fault {
    match error {
        RedisError::Setup { .. } => Fault::Permanent,
        RedisError::Server { code, message } => match code.as_str() {
            "WRONGPASS" | "NOAUTH" | "NOPERM" | "DENIED" => Fault::Permanent,
            "READONLY" | "UNBLOCKED" => Fault::Failover,
            "ERR" if is_permanent(message) => Fault::Permanent,
            _ => Fault::Transient,
        },
        RedisError::Lost { .. } | RedisError::NotSent { .. } | RedisError::TimedOut { .. } => Fault::Transient,
        _ => Fault::Connection,
    }
}

/// A database that does not exist, a password for a server that has none, a cluster that is none.
fn is_permanent(message: &str) -> bool {
    ["DB index", "AUTH", "invalid password", "cluster support disabled", "No such master"]
        .iter()
        .any(|told| message.contains(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_about_itself_passes_and_what_it_says_about_the_caller_does_not() {
        for text in
            ["LOADING Redis is loading", "CLUSTERDOWN Hash slot not served", "ERR max number of clients reached"]
        {
            assert_eq!(classify(&RedisError::of_server(text)), Fault::Transient, "{text}");
        }
        for text in ["WRONGPASS invalid", "NOAUTH Authentication required.", "ERR DB index is out of range"] {
            assert_eq!(classify(&RedisError::of_server(text)), Fault::Permanent, "{text}");
        }
        assert_eq!(classify(&RedisError::of_server("READONLY You can't write")), Fault::Failover);
        assert_eq!(classify(&RedisError::Lost { reason: "x".into() }), Fault::Transient);
    }
}
