//! A socket that redis-rs multiplexes; its answers are counted outside of redis-rs.

mod counted;

use crate::command::Command;
use crate::driver::overdue::{Deadline, Overdue, SILENT};
use crate::error::RedisError;
use crate::value::Value;
use bytes::Bytes;
use counted::{Counted, Traffic};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value as DriverValue};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// A connection to one server. Dropping it closes the socket.
pub(crate) struct RedisRs {
    connection: MultiplexedConnection,
    /// The task that reads and writes.
    task: JoinHandle<()>,
    aborted: AtomicBool,
    /// The sender is dropped when the socket is closed.
    closed: watch::Receiver<()>,
    shared: Arc<Shared>,
}

/// State that callers and the task share.
struct Shared {
    traffic: Arc<Traffic>,
    /// How long a command may have no answer, unless its caller asked for more.
    limit: Duration,
    /// Until when callers wait that asked for more.
    long_waits: Mutex<Vec<Instant>>,
    silent: AtomicBool,
}

impl Shared {
    /// When the oldest command becomes overdue.
    fn due(&self) -> Option<Instant> {
        let due = Deadline { since: self.traffic.oldest()?, limit: self.limit }.end();
        self.long_waits().iter().copied().chain([due]).max()
    }

    fn long_waits(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.long_waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller that waits for longer than `limit`; removed from the list on drop.
struct LongWait<'a> {
    shared: &'a Shared,
    until: Instant,
}

impl Drop for LongWait<'_> {
    fn drop(&mut self) {
        let mut long_waits = self.shared.long_waits();
        if let Some(at) = long_waits.iter().position(|until| *until == self.until) {
            long_waits.swap_remove(at);
        }
    }
}

impl RedisRs {
    /// Starts the task that serves a socket.
    ///
    /// # Errors
    ///
    /// The driver's error.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        limit: Duration,
    ) -> Result<Self, RedisError> {
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let stream = Counted::new(stream);
        let (traffic, long_waits, silent) =
            (stream.traffic(), Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { traffic, limit, long_waits, silent });
        let connecting = MultiplexedConnection::new_with_config(&bare, stream, config);
        let (connection, driver) = connecting.await.map_err(|error| lost(&error))?;
        let (open, closed) = watch::channel(());
        let watched = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Dropped after the stream.
            let _open = open;
            let (mut driver, mut overdue) = (pin!(driver), Overdue::default());
            poll_fn(|cx| match driver.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => overdue
                    .poll(cx, watched.due())
                    .map(|()| watched.silent.store(true, Ordering::Release)),
            })
            .await;
        });
        Ok(Self { connection, task, aborted: AtomicBool::new(false), closed, shared })
    }

    /// Sends a command and waits for its answer. An error reply is returned as a value. If no
    /// answer arrives within `deadline`, the connection is closed for all its callers, even if none
    /// of them waits any more.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is read and discarded.
    pub(crate) async fn send(
        &self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Value, RedisError> {
        self.check()?;
        let _long_wait = self.wait_for(deadline);
        self.answer(self.connection.clone().send_packed_command(&packed(command)).await)
    }

    /// Sends commands as one write. Error replies are returned as values.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub(crate) async fn pipeline(
        &self,
        commands: &[Command],
        deadline: Deadline,
    ) -> Result<Vec<Value>, RedisError> {
        self.check()?;
        let _long_wait = self.wait_for(deadline);
        let mut pipe = redis::pipe();
        for command in commands {
            pipe.add_command(packed(command));
        }
        let answers = self.connection.clone().send_packed_commands(&pipe, 0, commands.len()).await;
        match self.answer(answers.map(DriverValue::Array))? {
            Value::List(answers) if answers.len() == commands.len() => Ok(answers),
            _ => Err(RedisError::Lost { reason: "answers are missing".to_owned() }),
        }
    }

    /// Returns whether the oldest command has had no answer for half the limit, so that its caller
    /// has probably gone.
    pub(crate) fn is_stuck(&self) -> bool {
        self.shared.traffic.oldest().is_some_and(|since| since.elapsed() >= self.shared.limit / 2)
    }

    /// Returns whether its buffers have grown too large to keep: redis-rs never shrinks them.
    pub(crate) fn is_large(&self) -> bool {
        self.shared.traffic.is_large()
    }

    /// Returns whether the socket is known to be closed.
    pub(crate) fn is_dead(&self) -> bool {
        self.aborted.load(Ordering::Acquire) || self.task.is_finished()
    }

    /// Closes it. Callers that wait for an answer get an error.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.task.abort();
    }

    /// The sender is dropped when the socket is closed.
    pub(crate) fn closed(&self) -> watch::Receiver<()> {
        self.closed.clone()
    }

    fn wait_for(&self, deadline: Deadline) -> Option<LongWait<'_>> {
        (deadline.limit > self.shared.limit).then(|| {
            let until = deadline.end();
            self.shared.long_waits().push(until);
            LongWait { shared: &self.shared, until }
        })
    }

    fn answer(&self, answer: Result<DriverValue, redis::RedisError>) -> Result<Value, RedisError> {
        let error = match answer {
            Ok(answer) => return Ok(value(answer)),
            Err(error) => error,
        };
        match error.code() {
            Some(code) => {
                Ok(Value::Error(format!("{code} {}", error.detail().unwrap_or_default())))
            }
            None if self.shared.silent.load(Ordering::Acquire) => {
                Err(RedisError::Lost { reason: SILENT.to_owned() })
            }
            None => Err(lost(&error)),
        }
    }

    fn check(&self) -> Result<(), RedisError> {
        let reason = || "the server has closed it".to_owned();
        if self.is_dead() { Err(RedisError::NotSent { reason: reason() }) } else { Ok(()) }
    }
}

impl Drop for RedisRs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn packed(command: &Command) -> Cmd {
    let mut packed = Cmd::new();
    packed.arg(command.name());
    for arg in command.args.iter() {
        packed.arg(&arg[..]);
    }
    packed
}

fn value(value: DriverValue) -> Value {
    let list =
        |values: Vec<DriverValue>| Value::List(values.into_iter().map(self::value).collect());
    match value {
        DriverValue::Nil => Value::Nil,
        DriverValue::Int(number) => Value::Int(number),
        DriverValue::Double(number) => Value::Double(number),
        DriverValue::Boolean(value) => Value::Bool(value),
        DriverValue::BulkString(data) => Value::Bytes(Bytes::from(data)),
        DriverValue::SimpleString(text) => Value::Bytes(Bytes::from(text)),
        DriverValue::Okay => Value::Bytes(Bytes::from_static(b"OK")),
        DriverValue::VerbatimString { text, .. } => Value::Bytes(Bytes::from(text)),
        DriverValue::BigNumber(digits) => Value::Bytes(Bytes::from(digits)),
        DriverValue::Array(values) | DriverValue::Set(values) => list(values),
        DriverValue::Map(pairs) => Value::Map(
            pairs.into_iter().map(|(key, value)| (self::value(key), self::value(value))).collect(),
        ),
        DriverValue::Attribute { data, .. } => self::value(*data),
        DriverValue::ServerError(error) => Value::Error(match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        }),
        // Pushes never get here.
        _ => Value::Nil,
    }
}

fn lost(error: &redis::RedisError) -> RedisError {
    RedisError::Lost { reason: error.to_string() }
}
