//! Errors of commands, which say whether the command may have been executed.

use millpond_core::PoolError;
use std::fmt;
use std::time::Duration;

/// Why a command has no answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RedisError {
    /// No connection was lent, so nothing was sent.
    Pool(PoolError),
    /// Redis answered with an error: the command was not executed, or not completely.
    Server {
        /// The first word: `WRONGTYPE`, `NOSCRIPT`, `OOM`; `ERR` for errors without a code.
        code: String,
        /// The rest.
        message: String,
    },
    /// No answer arrived in time. Whether the command was executed is not known.
    TimedOut {
        /// Its name.
        command: String,
        /// The limit that was exceeded.
        limit: Duration,
    },
    /// The connection was lost while the command was under way. Whether it was executed is not
    /// known.
    Lost {
        /// The cause, as far as it is known.
        reason: String,
    },
    /// There was no connection: nothing of the command was sent, so it was not executed.
    NotSent {
        /// Why.
        reason: String,
    },
    /// The command was not sent, because it would not work on this connection.
    Refused {
        /// Its name.
        command: String,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// The keys of one command live in different slots, which a cluster refuses. Not sent.
    CrossSlot {
        /// The command's name.
        command: String,
    },
    /// The answer is not of the requested type. The command was executed.
    Decode {
        /// The requested type.
        expected: &'static str,
        /// The kind of the answer.
        got: &'static str,
    },
    /// Messages were dropped, because they were not fetched fast enough.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The settings or the server's certificate permit no connection.
    Setup {
        /// Why.
        reason: String,
    },
}

/// Codes of a server that serves no command: it is starting, busy, cut off from its master or its
/// cluster, or no longer a master.
const OUTAGES: [&str; 4] = ["LOADING", "CLUSTERDOWN", "MASTERDOWN", "BUSY"];

/// How the error of a blocking command begins whose server has become a replica. Another one of
/// this code says that somebody has called CLIENT UNBLOCK.
const DEMOTED: &str = "force unblock";

/// How the error of a write begins whose server is a replica.
const REPLICA: &str = "You can't write";

/// Codes of a server that refuses writes but answers reads: its memory or disk is full, it lacks
/// replicas, or it is a replica.
const WRITES_REFUSED: [&str; 4] = ["OOM", "MISCONF", "NOREPLICAS", "READONLY"];

impl RedisError {
    /// Returns the code of an error reply, its first word.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Returns whether the command may have been executed although there is no answer.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Lost { .. })
    }

    /// Returns whether Redis is down or serves no command, rather than refusing this one. A refused
    /// write is no outage: see [`is_refused_write`](Self::is_refused_write).
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Pool(PoolError::RequestRefused(_)) => false,
            Self::Pool(_) | Self::TimedOut { .. } | Self::Lost { .. } | Self::NotSent { .. } => {
                true
            }
            Self::Server { code, .. } => {
                OUTAGES.contains(&code.as_str()) || self.ends_a_wait_by_failover()
            }
            _ => false,
        }
    }

    /// Returns whether the server refuses writes at present (`OOM`, `MISCONF`, `NOREPLICAS`,
    /// `READONLY`). Reads go on.
    pub fn is_refused_write(&self) -> bool {
        self.code().is_some_and(|code| WRITES_REFUSED.contains(&code))
    }

    /// Returns whether this answer to a PING means that the server is well: Redis refuses PING
    /// while it cannot save to disk (`MISCONF`), and a user may lack the right to send it.
    pub(crate) fn is_a_sign_of_life(&self) -> bool {
        self.code().is_some_and(|code| code == "MISCONF" || code == "NOPERM")
    }

    /// Returns whether there was no answer, so that an idempotent command may be sent again.
    pub(crate) fn has_no_answer(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Lost { .. } | Self::NotSent { .. })
    }

    /// Returns whether the connection must be closed, besides after a failover.
    pub(crate) fn ends_the_connection(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Lost { .. } | Self::NotSent { .. } => true,
            Self::Server { code, .. } => matches!(code.as_str(), "NOAUTH" | "MASTERDOWN"),
            _ => false,
        }
    }

    /// Returns whether the server is no longer a master, if the error is not one that a script
    /// returns by itself.
    pub(crate) fn indicates_failover(&self) -> bool {
        self.is_of_a_replica() || self.ends_a_wait_by_failover()
    }

    fn is_of_a_replica(&self) -> bool {
        matches!(self, Self::Server { code, message }
            if code == "READONLY" && message.starts_with(REPLICA))
    }

    fn ends_a_wait_by_failover(&self) -> bool {
        matches!(self, Self::Server { code, message }
            if code == "UNBLOCKED" && message.starts_with(DEMOTED))
    }

    /// The error of a command whose slot was not found. It was not executed.
    pub(crate) fn moving() -> Self {
        Self::Server {
            code: "MOVED".to_owned(),
            message: "the slot of its keys is moving to another node".to_owned(),
        }
    }

    /// Reads an error reply.
    pub(crate) fn of_server(text: &str) -> Self {
        let (code, message) = match text.split_once(' ') {
            Some((code, message)) if is_code(code) => (code, message),
            _ => ("ERR", text),
        };
        // Redis before 7.0 wraps the error of a command in a script.
        let wrapped = message.strip_prefix("Error running script ").and_then(|message| {
            let (code, message) = message.rsplit_once(": -")?.1.split_once(' ')?;
            WRITES_REFUSED.contains(&code).then_some((code, message))
        });
        let (code, message) = wrapped.unwrap_or((code, message));
        // Redis repeats the arguments of an unknown command, which may be secret.
        let message = message.split(", with args beginning with").next().unwrap_or(message);
        Self::Server { code: code.to_owned(), message: message.trim().to_owned() }
    }
}

/// Returns whether a word is a code: Redis writes them in capitals.
fn is_code(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(error) => error.fmt(f),
            Self::Server { code, message } => write!(f, "{code} {message}"),
            Self::TimedOut { command, limit } => write!(
                f,
                "no answer to {command} within {:.3} s; whether it was executed is not known",
                limit.as_secs_f64()
            ),
            Self::Lost { reason } => write!(f, "the connection to Redis was lost: {reason}"),
            Self::NotSent { reason } => write!(f, "nothing was sent to Redis: {reason}"),
            Self::Refused { command, reason } => write!(f, "{command} was not sent: {reason}"),
            Self::CrossSlot { command } => write!(
                f,
                "{command} was not sent: its keys live in different slots of the cluster; give \
                 them one hash tag, as in {{user:1}}:name and {{user:1}}:mail"
            ),
            Self::Decode { expected, got } => write!(f, "the answer is {got}, not {expected}"),
            Self::Lagged { missed } => {
                write!(f, "{missed} messages were dropped, because they were not fetched in time")
            }
            Self::Setup { reason } => f.write_str(reason),
        }
    }
}

impl std::error::Error for RedisError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pool(error) => std::error::Error::source(error),
            _ => None,
        }
    }
}

impl From<PoolError> for RedisError {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reply_has_the_code_of_the_server() {
        let error = RedisError::of_server(
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        );
        assert_eq!(error.code(), Some("WRONGTYPE"));
        assert_eq!(RedisError::of_server("something else").code(), Some("ERR"));
        assert!(RedisError::of_server("READONLY You can't write").indicates_failover());
        let error = RedisError::of_server(
            "UNBLOCKED force unblock from blocking operation, instance state changed (..)",
        );
        assert!(error.indicates_failover() && error.is_outage());
        let error = RedisError::of_server("UNBLOCKED client unblocked via CLIENT UNBLOCK");
        assert!(!error.indicates_failover() && !error.is_outage() && !error.ends_the_connection());
    }

    #[test]
    fn a_refused_write_is_no_outage_and_a_server_that_answers_nobody_is() {
        for text in ["OOM x", "MISCONF x", "NOREPLICAS x", "READONLY x"] {
            let error = RedisError::of_server(text);
            assert!(error.is_refused_write() && !error.is_outage(), "{text}");
        }
        for text in ["LOADING x", "CLUSTERDOWN x", "MASTERDOWN x", "BUSY x"] {
            let error = RedisError::of_server(text);
            assert!(!error.is_refused_write() && error.is_outage(), "{text}");
        }
    }

    #[test]
    fn a_write_that_is_refused_inside_a_script_is_one_for_every_version_of_redis() {
        for message in [
            "ERR Error running script (call to f_0f): @user_script:6: @user_script: 6: \
             -READONLY You can't write against a read only replica.",
            "READONLY You can't write against a read only replica. script: f_0f, on \
             @user_script:6.",
        ] {
            let error = RedisError::of_server(message);
            assert_eq!(error.code(), Some("READONLY"));
            assert!(error.is_refused_write() && error.indicates_failover());
        }
        let wrap = |inner: &str| {
            let origin = "Error running script (call to f_0f): @user_script:1: @user_script: 1";
            RedisError::of_server(&format!("ERR {origin}: {inner}"))
        };
        for code in WRITES_REFUSED {
            assert_eq!(wrap(&format!("-{code} x")).code(), Some(code));
        }
        for other in ["-MOVED 7 h:1", "-WRONGTYPE x", "x", "-OOM"] {
            assert_eq!(wrap(other).code(), Some("ERR"), "{other}");
        }
    }

    #[test]
    fn an_error_of_a_script_in_the_name_of_a_replica_is_no_failover() {
        let error = RedisError::of_server("READONLY the pond is frozen");
        assert!(!error.indicates_failover() && !error.ends_the_connection());
        assert!(error.is_refused_write());
    }

    #[test]
    fn the_arguments_of_an_unknown_command_are_not_repeated() {
        let text = "ERR unknown command 'ATUH', with args beginning with: 'hunter2' ";
        let error = RedisError::of_server(text);
        assert!(
            !error.to_string().contains("hunter2") && error.to_string().contains("ATUH"),
            "{error}"
        );
    }

    #[test]
    fn an_error_without_an_answer_says_that_the_command_may_have_been_executed() {
        let error = RedisError::TimedOut { command: "INCR".into(), limit: Duration::from_secs(2) };
        assert!(error.is_ambiguous() && error.to_string().contains("not known"), "{error}");
        assert!(!RedisError::CrossSlot { command: "MGET".into() }.is_ambiguous());
        let error =
            RedisError::NotSent { reason: "no answer to the handshake within 2.000 s".into() };
        assert!(!error.is_ambiguous() && !error.to_string().contains("not known"), "{error}");
    }
}
