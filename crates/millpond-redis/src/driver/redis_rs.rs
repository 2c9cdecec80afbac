//! A socket multiplexed by redis-rs, with its answers counted beside it.

mod counted;

use crate::command::Command;
use crate::driver::overdue::{Overdue, Patience, SILENT};
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

/// A connection to one server. Whoever drops it closes the socket.
pub(crate) struct RedisRs {
    connection: MultiplexedConnection,
    /// Reads and writes.
    task: JoinHandle<()>,
    aborted: AtomicBool,
    /// Its other half is dropped when the socket is closed.
    closed: watch::Receiver<()>,
    shared: Arc<Shared>,
}

/// What callers and the task know together.
struct Shared {
    traffic: Arc<Traffic>,
    /// How long a command may go without its answer.
    limit: Duration,
    /// Until when those wait who have more patience than that.
    patient: Mutex<Vec<Instant>>,
    silent: AtomicBool,
}

impl Shared {
    /// When the oldest command is overdue.
    fn due(&self) -> Option<Instant> {
        let due = Patience { since: self.traffic.oldest()?, limit: self.limit }.end();
        self.patient().iter().copied().chain([due]).max()
    }

    fn patient(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.patient.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for longer than others.
struct Patient<'a> {
    shared: &'a Shared,
    until: Instant,
}

impl Drop for Patient<'_> {
    fn drop(&mut self) {
        let mut patient = self.shared.patient();
        if let Some(at) = patient.iter().position(|until| *until == self.until) {
            patient.swap_remove(at);
        }
    }
}

impl RedisRs {
    /// Serves a socket.
    ///
    /// # Errors
    ///
    /// The driver's.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        limit: Duration,
    ) -> Result<Self, RedisError> {
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let stream = Counted::new(stream);
        let (traffic, patient, silent) = (stream.traffic(), Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { traffic, limit, patient, silent });
        let connecting = MultiplexedConnection::new_with_config(&bare, stream, config);
        let (connection, driver) = connecting.await.map_err(|error| lost(&error))?;
        let (open, closed) = watch::channel(());
        let watched = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            // Dropped behind the stream.
            let _open = open;
            let (mut driver, mut overdue) = (pin!(driver), Overdue::default());
            poll_fn(|cx| match driver.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => {
                    overdue.poll(cx, watched.due()).map(|()| watched.silent.store(true, Ordering::Release))
                }
            })
            .await;
        });
        Ok(Self { connection, task, aborted: AtomicBool::new(false), closed, shared })
    }

    /// Sends a command and waits for its answer. An error of the server's is a value. If there is none when the patience is
    /// over, the connection ends with everybody on it, whether anybody still waits or not.
    ///
    /// # Errors
    ///
    /// The connection was lost.
    ///
    /// # Cancel safety
    ///
    /// What was sent is executed; its answer is read and thrown away.
    pub(crate) async fn send(&self, command: &Command, patience: Patience) -> Result<Value, RedisError> {
        self.check()?;
        let _patient = self.wait_for(patience);
        self.answer(self.connection.clone().send_packed_command(&packed(command)).await)
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
    pub(crate) async fn pipeline(&self, commands: &[Command], patience: Patience) -> Result<Vec<Value>, RedisError> {
        self.check()?;
        let _patient = self.wait_for(patience);
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

    /// Whether the answer that is to come next has been due for so long that whoever waited for it has gone.
    pub(crate) fn is_stuck(&self) -> bool {
        self.shared.traffic.oldest().is_some_and(|since| since.elapsed() >= self.shared.limit / 2)
    }

    /// Whether it has carried so much at once that its buffers are not worth keeping: the driver never gives them back.
    pub(crate) fn is_large(&self) -> bool {
        self.shared.traffic.is_large()
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

    fn wait_for(&self, patience: Patience) -> Option<Patient<'_>> {
        (patience.limit > self.shared.limit).then(|| {
            let until = patience.end();
            self.shared.patient().push(until);
            Patient { shared: &self.shared, until }
        })
    }

    fn answer(&self, answer: Result<DriverValue, redis::RedisError>) -> Result<Value, RedisError> {
        let error = match answer {
            Ok(answer) => return Ok(value(answer)),
            Err(error) => error,
        };
        match error.code() {
            Some(code) => Ok(Value::Error(format!("{code} {}", error.detail().unwrap_or_default()))),
            None if self.shared.silent.load(Ordering::Acquire) => Err(RedisError::Lost { reason: SILENT.to_owned() }),
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

fn lost(error: &redis::RedisError) -> RedisError {
    RedisError::Lost { reason: error.to_string() }
}
