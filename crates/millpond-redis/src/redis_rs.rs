//! A socket multiplexed by redis-rs, with its answers counted beside it.

use crate::command::Command;
use crate::counted::Counted;
use crate::error::RedisError;
use crate::value::Value;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value as DriverValue};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A connection to one server. Whoever drops it closes the socket.
pub(crate) struct RedisRs {
    connection: MultiplexedConnection,
    /// Reads and writes.
    task: JoinHandle<()>,
    aborted: AtomicBool,
    /// Its other half is dropped when the socket is closed.
    closed: watch::Receiver<()>,
}

impl RedisRs {
    /// Serves a socket.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, RedisError> {
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connecting = MultiplexedConnection::new_with_config(&bare, Counted::new(stream), config);
        let (connection, driver) = connecting.await.map_err(|error| lost(&error))?;
        let (open, closed) = watch::channel(());
        let task = tokio::spawn(async move {
            // Dropped behind the stream.
            let _open = open;
            driver.await;
        });
        Ok(Self { connection, task, aborted: AtomicBool::new(false), closed })
    }

    /// Sends a command and waits for its answer, however long that takes. An error of the server's is a value.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    ///
    /// # Cancel safety
    ///
    /// What was sent is executed; its answer is read and thrown away.
    pub(crate) async fn send(&self, command: &Command) -> Result<Value, RedisError> {
        self.check()?;
        answer(self.connection.clone().send_packed_command(&packed(command)).await)
    }

    /// Sends commands in one piece. Errors of the server's are values.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub(crate) async fn pipeline(&self, commands: &[Command]) -> Result<Vec<Value>, RedisError> {
        self.check()?;
        let mut pipe = redis::pipe();
        for command in commands {
            pipe.add_command(packed(command));
        }
        let answers = self.connection.clone().send_packed_commands(&pipe, 0, commands.len()).await;
        match answer(answers.map(DriverValue::Array))? {
            Value::List(answers) if answers.len() == commands.len() => Ok(answers),
            _ => Err(RedisError::Lost { reason: "answers are missing".to_owned() }),
        }
    }

    /// Whether it is closed, as far as this side knows.
    pub(crate) fn is_dead(&self) -> bool {
        self.aborted.load(Ordering::Acquire) || self.task.is_finished()
    }

    /// Closes it; who waits for an answer hears that there will be none.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        self.task.abort();
    }

    /// Its other half is dropped when the socket is closed.
    pub(crate) fn closed(&self) -> watch::Receiver<()> {
        self.closed.clone()
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
    let list = |values: Vec<DriverValue>| Value::List(values.into_iter().map(self::value).collect());
    match value {
        DriverValue::Int(number) => Value::Int(number),
        DriverValue::BulkString(data) => Value::Bytes(Bytes::from(data)),
        DriverValue::SimpleString(text) => Value::Bytes(Bytes::from(text)),
        DriverValue::Okay => Value::Bytes(Bytes::from_static(b"OK")),
        DriverValue::Array(values) => list(values),
        DriverValue::ServerError(error) => Value::Error(match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        }),
        // The rest belongs to the third version of the protocol, which is not spoken.
        _ => Value::Nil,
    }
}

fn answer(answer: Result<DriverValue, redis::RedisError>) -> Result<Value, RedisError> {
    match answer {
        Ok(answer) => Ok(value(answer)),
        Err(error) => match error.code() {
            Some(code) => Ok(Value::Error(format!("{code} {}", error.detail().unwrap_or_default()))),
            None => Err(lost(&error)),
        },
    }
}

fn lost(error: &redis::RedisError) -> RedisError {
    RedisError::Lost { reason: error.to_string() }
}
