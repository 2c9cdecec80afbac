//! What can go wrong with a command, told so that a caller knows whether it may have been executed.

use fred::error::{Error as DriverError, ErrorKind};
use millpond_core::PoolError;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why a command has no answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RedisError {
    /// No connection was lent, so nothing was sent.
    Pool(PoolError),
    /// Redis answered with an error: the command was not executed, or not to its end.
    Server {
        /// The first word: `WRONGTYPE`, `NOSCRIPT`, `OOM`. `ERR` if there is nothing better.
        code: String,
        /// The rest.
        message: String,
    },
    /// No answer in time. Whether the command was executed is not known.
    TimedOut {
        /// Its name.
        command: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection was lost, or never had. If the command was sent, whether it was executed is not known.
    Lost {
        /// What the driver says.
        reason: String,
    },
    /// The command was not sent, because it cannot do here what it is for.
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
    /// The answer is of another kind than was asked for. The command was executed.
    Decode {
        /// What was asked for.
        wanted: &'static str,
        /// What came.
        got: &'static str,
    },
    /// Messages were not fetched fast enough, and this many were dropped.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The settings or the server's certificate make a connection impossible.
    Setup {
        /// Why.
        reason: String,
    },
}

/// What a server says that is starting, full, cut off from its master or its cluster, or no master any more.
const OUTAGES: [&str; 10] = [
    "LOADING",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "READONLY",
    "TRYAGAIN",
    "BUSY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "UNBLOCKED",
];

impl RedisError {
    /// The first word of Redis' own error.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Whether the command may have been executed although there is no answer.
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Lost { .. })
    }

    /// Whether it means that Redis is down or not itself, rather than that it refuses.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Pool(_) | Self::TimedOut { .. } | Self::Lost { .. } => true,
            Self::Server { code, .. } => OUTAGES.contains(&code.as_str()),
            _ => false,
        }
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn ends_the_connection(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Lost { .. } => true,
            Self::Server { code, .. } => matches!(code.as_str(), "READONLY" | "NOAUTH" | "MASTERDOWN" | "UNBLOCKED"),
            _ => false,
        }
    }

    /// Whether this server is no longer the one to write to.
    pub(crate) fn tells_of_a_failover(&self) -> bool {
        self.code().is_some_and(|code| code == "READONLY" || code == "UNBLOCKED")
    }

    /// The slot of a command's keys is not where it was looked for. The command was not executed.
    pub(crate) fn moving() -> Self {
        Self::Server { code: "MOVED".to_owned(), message: "the slot of its keys is moving to another node".to_owned() }
    }

    /// Whether it is [`moving`](Self::moving).
    pub(crate) fn is_moving(&self) -> bool {
        matches!(self.code(), Some("MOVED" | "ASK" | "TRYAGAIN"))
    }

    /// Redis' own words.
    pub(crate) fn of_server(text: &str) -> Self {
        let (code, message) = match text.split_once(' ') {
            Some((code, message)) if is_code(code) => (code, message),
            _ => ("ERR", text),
        };
        // Redis repeats the arguments of a command it does not know, whatever they hold.
        let message = message.split(", with args beginning with").next().unwrap_or(message);
        Self::Server { code: code.to_owned(), message: message.trim().to_owned() }
    }

    pub(crate) fn of_driver(error: &DriverError, command: &str, limit: Duration) -> Self {
        let details = error.details();
        match error.kind() {
            ErrorKind::Timeout => Self::TimedOut { command: command.to_owned(), limit },
            ErrorKind::Config | ErrorKind::Url | ErrorKind::Tls => Self::Setup { reason: details.to_owned() },
            // rustls' verdict on a certificate arrives as an error of the socket.
            ErrorKind::IO if is_about_a_certificate(details) => Self::Setup { reason: certificate(details) },
            // Redirected, and not followed: it was not executed.
            _ if ["Too many redirections.", "Max redirections exceeded"].contains(&details) => Self::moving(),
            _ if details.split(' ').next().is_some_and(is_code) => Self::of_server(details),
            _ => Self::Lost { reason: details.to_owned() },
        }
    }
}

/// Redis writes the codes of its errors in capitals.
fn is_code(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_about_a_certificate(details: &str) -> bool {
    details.contains("InvalidData") || details.contains("ertificate")
}

/// Without the braces of a debug print.
fn certificate(details: &str) -> String {
    let cause: Cow<'_, str> = match details.split_once("error: ") {
        Some((_, cause)) => cause.trim_end_matches([' ', '}']).into(),
        None => details.into(),
    };
    format!("the server's certificate is not accepted: {cause}")
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
            Self::Refused { command, reason } => write!(f, "{command} was not sent: {reason}"),
            Self::CrossSlot { command } => write!(
                f,
                "{command} was not sent: its keys live in different slots of the cluster; give them one hash tag, as in {{user:1}}:name and {{user:1}}:mail"
            ),
            Self::Decode { wanted, got } => write!(f, "the answer is {got}, not {wanted}"),
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
    fn the_server_s_own_words_are_told_by_their_code() {
        let error = RedisError::of_server("WRONGTYPE Operation against a key holding the wrong kind of value");
        assert_eq!(error.code(), Some("WRONGTYPE"));
        assert_eq!(RedisError::of_server("something else").code(), Some("ERR"));
        assert!(RedisError::of_server("READONLY You can't write").tells_of_a_failover());
    }

    #[test]
    fn the_arguments_of_an_unknown_command_are_not_repeated() {
        let text = "ERR unknown command 'ATUH', with args beginning with: 'hunter2' ";
        let error = RedisError::of_server(text);
        assert!(!error.to_string().contains("hunter2") && error.to_string().contains("ATUH"), "{error}");
    }

    #[test]
    fn who_gets_no_answer_is_told_that_the_command_may_have_been_executed() {
        let error = RedisError::TimedOut { command: "INCR".into(), limit: Duration::from_secs(2) };
        assert!(error.is_ambiguous() && error.to_string().contains("not known"), "{error}");
        assert!(!RedisError::CrossSlot { command: "MGET".into() }.is_ambiguous());
    }
}
