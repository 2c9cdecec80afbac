//! One socket to one server: opened, logged in, and served by one of the drivers.
//!
//! No driver retries, reconnects or has limits of its own: a socket that ends stays closed, and the
//! callers keep the time.

pub(crate) mod dial;
#[cfg(feature = "fred")]
pub(crate) mod fred;
pub(crate) mod overdue;
#[cfg(feature = "redis-rs")]
mod redis_rs;
mod scanner;
mod tcp;
mod tls;

use crate::command::Command;
use crate::connect::login::Login;
use crate::connect::options::{Driver, Protocol, RedisConnectOptions};
use crate::deadlines::within;
use crate::error::RedisError;
use crate::subscription::{MessageReceiver, until_closed};
use crate::value::Value;
use dial::{Destination, dial};
#[cfg(feature = "fred")]
use fred::Wire;
use overdue::Deadline;
#[cfg(feature = "redis-rs")]
use redis_rs::RedisRs;
use scanner::NOT_REDIS;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tls::{SPEAKS_TLS, speaks_tls};

/// A connection to one server. Dropping it closes the socket.
pub(crate) struct Socket {
    wire: DriverSocket,
    /// Whether the server marks messages: it speaks RESP3.
    marks_messages: bool,
    /// The number of answers received so far.
    answers: AtomicU64,
}

/// The driver that serves the socket.
enum DriverSocket {
    #[cfg(feature = "fred")]
    Fred(Wire),
    #[cfg(feature = "redis-rs")]
    RedisRs(RedisRs),
}

/// Forwards a call to the driver.
macro_rules! forward {
    ($socket:expr, $wire:ident => $call:expr) => {
        match &$socket.wire {
            #[cfg(feature = "fred")]
            DriverSocket::Fred($wire) => $call,
            #[cfg(feature = "redis-rs")]
            DriverSocket::RedisRs($wire) => $call,
        }
    };
}

impl Socket {
    /// Connects, logs in and selects a database, all within the limit.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection.
    ///
    /// # Cancel safety
    ///
    /// The socket is closed.
    pub(crate) async fn dial(
        destination: Destination<'_>,
        login: &Login,
        options: &RedisConnectOptions,
        limit: Duration,
    ) -> Result<Self, RedisError> {
        let deadline = Deadline::new(limit);
        let dialling = async {
            let stream = dial(destination, options.tls.as_ref(), options.tcp).await?;
            let wire = match options.driver {
                #[cfg(feature = "fred")]
                Driver::Fred => DriverSocket::Fred(Wire::over(stream)),
                #[cfg(feature = "redis-rs")]
                Driver::RedisRs => {
                    DriverSocket::RedisRs(RedisRs::over(stream, options.command_timeout).await?)
                }
            };
            let mut socket = Self { wire, marks_messages: false, answers: AtomicU64::new(0) };
            socket.marks_messages = socket.greet(login, options, deadline).await?;
            #[cfg(feature = "fred")]
            if let DriverSocket::Fred(wire) = &socket.wire {
                wire.set_in_use();
            }
            Ok(socket)
        };
        let reason = match within(limit, dialling).await {
            Some(Err(RedisError::Lost { reason })) => reason,
            Some(outcome) => return outcome,
            None => return Err(late(destination, limit)),
        };
        if let (Destination::Network(node), None) = (destination, &options.tls)
            && speaks_tls(node, deadline.left()).await
        {
            return Err(RedisError::Setup { reason: format!("{node}: {SPEAKS_TLS}") });
        }
        let is_another = reason.contains(NOT_REDIS);
        let hint = match options.protocol {
            Protocol::Resp3 if !is_another => {
                "; if it is a proxy that does not know HELLO, write ?protocol=2"
            }
            _ => "",
        };
        let reason = format!("{destination}: {reason}{hint}");
        Err(if is_another { RedisError::Setup { reason } } else { RedisError::NotSent { reason } })
    }

    /// Logs in and selects the database, in one write. Returns whether the server speaks RESP3.
    async fn greet(
        &self,
        login: &Login,
        options: &RedisConnectOptions,
        deadline: Deadline,
    ) -> Result<bool, RedisError> {
        let auth = login
            .password
            .as_ref()
            .map(|password| Command::new("AUTH").args(&login.user).arg(password));
        let hello = (options.protocol == Protocol::Resp3).then(|| Command::new("HELLO").arg(3));
        let select =
            (options.database > 0).then(|| Command::new("SELECT").arg(u32::from(options.database)));
        let ping = Command::new("PING");
        let send = async |command: Option<&Command>| match command {
            Some(command) => self.send(command, deadline).await.map(|_| true),
            None => Ok(false),
        };
        // Polled in this order, and so sent in it.
        let (auth, hello, select, ping) = tokio::join!(
            biased;
            send(auth.as_ref()),
            send(hello.as_ref()),
            send(select.as_ref()),
            send(Some(&ping)),
        );
        auth.map_err(|error| login.redact(error))?;
        let speaks_resp3 = match hello {
            Ok(is_asked) => is_asked,
            // The last words of a server that hangs up, and not an answer to the HELLO.
            Err(refusal) if matches!(&ping, Err(lost) if lost.code().is_none()) => {
                return Err(refusal);
            }
            Err(refusal) if refusal.is_outage() => return Err(refusal),
            Err(refusal) if refusal.code().is_some() => false,
            Err(lost) => return Err(lost),
        };
        select?;
        ping.or_else(|error| error.is_a_sign_of_life().then_some(true).ok_or(error))?;
        Ok(speaks_resp3)
    }

    /// Sends a command and waits for its answer. If no answer arrives within `deadline`, the socket
    /// is closed, even if no caller waits any more.
    ///
    /// # Errors
    ///
    /// An error reply is returned as an error.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is read and discarded.
    pub(crate) async fn send(
        &self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Value, RedisError> {
        let answer = forward!(self, wire => wire.send(command, deadline).await);
        let answer = answer.and_then(|answer| error_in(&answer).map_or(Ok(answer), Err));
        self.count_answer(answer)
    }

    /// Sends commands as one write. Error replies are returned as values.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub(crate) async fn pipeline(
        &self,
        commands: &[Command],
        deadline: Deadline,
    ) -> Result<Vec<Value>, RedisError> {
        self.count_answer(forward!(self, wire => wire.pipeline(commands, deadline).await))
    }

    /// Sends a SUBSCRIBE or PSUBSCRIBE.
    ///
    /// # Errors
    ///
    /// [`RedisError::Refused`] if the driver cannot subscribe.
    ///
    /// # Cancel safety
    ///
    /// The connection may be subscribed or not.
    pub(crate) async fn subscribe(
        &self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<(), RedisError> {
        match &self.wire {
            #[cfg(feature = "fred")]
            DriverSocket::Fred(wire) => {
                wire.subscribe(command, deadline, self.marks_messages).await
            }
            #[cfg(feature = "redis-rs")]
            DriverSocket::RedisRs(_) => {
                let _ = deadline;
                let reason = "only over the driver fred can a connection be subscribed";
                Err(RedisError::Refused { command: command.name().to_owned(), reason })
            }
        }
    }

    /// Returns a receiver of the messages that are published from now on.
    pub(crate) fn message_receiver(&self) -> Option<MessageReceiver> {
        match &self.wire {
            #[cfg(feature = "fred")]
            DriverSocket::Fred(wire) => Some(wire.message_receiver()),
            #[cfg(feature = "redis-rs")]
            DriverSocket::RedisRs(_) => None,
        }
    }

    /// The number of answers received so far.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Returns whether the caller of the oldest command has given up waiting.
    pub(crate) fn is_stuck(&self) -> bool {
        forward!(self, wire => wire.is_stuck())
    }

    /// Returns whether its buffers have grown too large to keep: those of redis-rs never shrink.
    pub(crate) fn is_large(&self) -> bool {
        match &self.wire {
            #[cfg(feature = "fred")]
            DriverSocket::Fred(_) => false,
            #[cfg(feature = "redis-rs")]
            DriverSocket::RedisRs(wire) => wire.is_large(),
        }
    }

    /// Returns whether the socket is known to be closed.
    pub(crate) fn is_dead(&self) -> bool {
        forward!(self, wire => wire.is_dead())
    }

    /// Closes it. Callers that wait for an answer get an error.
    pub(crate) fn abort(&self) {
        forward!(self, wire => wire.abort());
    }

    /// Completes when the socket is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        until_closed(forward!(self, wire => wire.closed()))
    }

    fn count_answer<T>(&self, answer: Result<T, RedisError>) -> Result<T, RedisError> {
        if matches!(answer, Ok(_) | Err(RedisError::Server { .. })) {
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

fn late(destination: Destination<'_>, limit: Duration) -> RedisError {
    RedisError::NotSent {
        reason: format!(
            "{destination} did not answer the handshake within {:.3} s",
            limit.as_secs_f64()
        ),
    }
}

/// Returns the error if an answer is one.
pub(crate) fn error_in(value: &Value) -> Option<RedisError> {
    if let Value::Error(text) = value { Some(RedisError::of_server(text)) } else { None }
}
