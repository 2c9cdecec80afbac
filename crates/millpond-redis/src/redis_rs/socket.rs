//! One socket to one server: dialled here, multiplexed by redis-rs.
//!
//! redis-rs is given no retry, no reconnect and no limit of its own: whatever ends a socket ends it for good, and time is kept
//! by who uses it.

use crate::command::Command;
use crate::connect_options::{Login, Node, RedisConnectOptions};
use crate::drivers::within;
use crate::error::RedisError;
use crate::fred_settings::rustls_config;
use crate::value::Value;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value as DriverValue};
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::Error as TlsError;
use tokio_rustls::rustls::pki_types::ServerName;

/// A connection to one server. Whoever drops it closes the socket.
pub(super) struct Socket {
    connection: MultiplexedConnection,
    /// Reads and writes.
    task: JoinHandle<()>,
    /// Its other half is dropped when the socket is closed.
    closed: watch::Receiver<()>,
    /// How many answers have come.
    answers: AtomicU64,
}

/// Where a server is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Network(&'a Node),
    Unix(&'a Path),
}

impl Socket {
    /// Connects, logs in and selects a database, all within the limit.
    ///
    /// # Errors
    ///
    /// Why it could not.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left of it.
    pub(super) async fn dial(
        place: Place<'_>,
        login: &Login,
        options: &RedisConnectOptions,
        limit: Duration,
    ) -> Result<Self, RedisError> {
        let dialling = async {
            let socket = match place {
                Place::Unix(path) => Self::over(UnixStream::connect(path).await.map_err(lost)?).await?,
                Place::Network(node) => {
                    let stream = TcpStream::connect((node.host.as_str(), node.port)).await.map_err(lost)?;
                    stream.set_nodelay(true).map_err(lost)?;
                    match &options.tls {
                        None => Self::over(stream).await?,
                        Some(tls) => {
                            let name = ServerName::try_from(node.host.clone())
                                .map_err(|_| RedisError::Setup { reason: format!("{} is no host name", node.host) })?;
                            let connector = TlsConnector::from(Arc::new(rustls_config(tls)?));
                            Self::over(connector.connect(name, stream).await.map_err(refused)?).await?
                        }
                    }
                }
            };
            socket.greet(login, options.database).await?;
            Ok(socket)
        };
        let late = || RedisError::TimedOut { command: "the handshake".to_owned(), limit };
        within(limit, dialling).await.ok_or_else(late)?
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Self, RedisError> {
        let bare = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&bare, stream, config).await.map_err(|error| told(&error))?;
        Ok(Self::running(connection, driver))
    }

    fn running(connection: MultiplexedConnection, driver: impl Future<Output = ()> + Send + 'static) -> Self {
        let (open, closed) = watch::channel(());
        let task = tokio::spawn(async move {
            // Dropped behind the stream.
            let _open = open;
            driver.await;
        });
        Self { connection, task, closed, answers: AtomicU64::new(0) }
    }

    async fn greet(&self, login: &Login, database: u8) -> Result<(), RedisError> {
        let mut commands = Vec::new();
        if let Some(password) = &login.password {
            commands.push(Command::new("AUTH").args(&login.user).arg(password));
        }
        if database > 0 {
            commands.push(Command::new("SELECT").arg(u32::from(database)));
        }
        commands.push(Command::new("PING"));
        match self.pipeline(&commands).await?.iter().find_map(error_in) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Sends a command and waits for its answer, however long that takes.
    ///
    /// # Errors
    ///
    /// An error of the server's is one here.
    ///
    /// # Cancel safety
    ///
    /// What was sent is executed; its answer is read and thrown away.
    pub(super) async fn send(&self, command: &Command) -> Result<Value, RedisError> {
        let answer = self.connection.clone().send_packed_command(&packed(command)).await;
        self.hear(answer.map(value))
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
    pub(super) async fn pipeline(&self, commands: &[Command]) -> Result<Vec<Value>, RedisError> {
        let mut pipe = redis::pipe();
        for command in commands {
            pipe.add_command(packed(command));
        }
        let answers = self.connection.clone().send_packed_commands(&pipe, 0, commands.len()).await;
        match self.hear(answers.map(|answers| Value::List(answers.into_iter().map(value).collect())))? {
            Value::List(answers) if answers.len() == commands.len() => Ok(answers),
            _ => Err(RedisError::Lost { reason: "answers are missing".to_owned() }),
        }
    }

    /// How many answers have come.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether it is closed, as far as this side knows.
    pub(super) fn is_dead(&self) -> bool {
        self.task.is_finished()
    }

    /// Closes it; who waits for an answer hears that there will be none.
    pub(super) fn abort(&self) {
        self.task.abort();
    }

    /// Ends when it is closed.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut closed = self.closed.clone();
        async move { while closed.changed().await.is_ok() {} }
    }

    fn hear(&self, answer: Result<Value, redis::RedisError>) -> Result<Value, RedisError> {
        let answer = match answer {
            Ok(value) => error_in(&value).map_or(Ok(value), Err),
            Err(error) => Err(told(&error)),
        };
        if !matches!(answer, Err(RedisError::Lost { .. })) {
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The error that an answer is.
pub(super) fn error_in(value: &Value) -> Option<RedisError> {
    if let Value::Error(text) = value { Some(RedisError::of_server(text)) } else { None }
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
        DriverValue::ServerError(error) => {
            Value::Error(format!("{} {}", error.code(), error.details().unwrap_or_default()))
        }
        // The rest belongs to the third version of the protocol, which is not spoken.
        _ => Value::Nil,
    }
}

fn told(error: &redis::RedisError) -> RedisError {
    match error.code() {
        Some(code) => RedisError::of_server(&format!("{code} {}", error.detail().unwrap_or_default())),
        None => RedisError::Lost { reason: error.to_string() },
    }
}

fn lost(error: io::Error) -> RedisError {
    RedisError::Lost { reason: error.to_string() }
}

/// What a TLS handshake ended with.
fn refused(error: io::Error) -> RedisError {
    match error.get_ref().and_then(|error| error.downcast_ref::<TlsError>()) {
        Some(TlsError::InvalidCertificate(cause)) => {
            RedisError::Setup { reason: format!("the server's certificate is not accepted: {cause:?}") }
        }
        _ => lost(error),
    }
}
