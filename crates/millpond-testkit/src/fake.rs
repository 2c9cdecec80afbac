//! A server that sends what a real one does not send on demand: half a message, a refusal, nothing.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// One thing that a [`FakeServer`] does with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerStep {
    /// Waits for data from the client.
    Receive,
    /// Sends these bytes. [`postgres_error`] and [`mysql_error`] build refusals; half of one is a
    /// partial packet.
    Send(Vec<u8>),
    /// Falls silent without closing the connection.
    FallSilent,
    /// Resets the connection.
    Reset,
}

/// A server on a free loopback port. It plays one script for each connection and then closes it.
/// After the last script, further clients are forwarded to a real server, or disconnected.
///
/// ```
/// use millpond_testkit::{FakeServer, ServerStep, postgres_error};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// // The first two clients are refused; the third is served.
/// let starting = postgres_error("57P03", "the database system is starting up");
/// let busy = vec![ServerStep::Receive, ServerStep::Send(starting)];
/// let server = FakeServer::start([busy.clone(), busy], Some("127.0.0.1:5432")).await?;
/// let url = format!("postgres://miller@{}/ponds?sslmode=disable", server.address());
/// # drop(url);
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl FakeServer {
    /// Starts a server; `then` is the `host:port` of the real server.
    ///
    /// # Errors
    ///
    /// Returns an error if no port is free.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves nothing behind.
    pub async fn start(
        scripts: impl IntoIterator<Item = Vec<ServerStep>>,
        then: Option<&str>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicUsize::new(0));
        let (scripts, then) =
            (scripts.into_iter().collect::<VecDeque<_>>(), then.map(str::to_owned));
        let accepting = tokio::spawn(accept(listener, scripts, then, Arc::clone(&accepted)));
        Ok(Self { address, accepted, accepting })
    }

    /// Returns the address that clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns how many connections have arrived.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Builds a PostgreSQL ErrorResponse of severity FATAL, as a server sends it before it disconnects.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
pub fn postgres_error(code: &str, message: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (kind, text) in [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', code), (b'M', message)] {
        fields.push(kind);
        fields.extend_from_slice(text.as_bytes());
        fields.push(0);
    }
    fields.push(0);
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&b"E"[..], &length.to_be_bytes(), &fields].concat()
}

/// Builds a MySQL ERR packet as a server's first packet, sent in place of its greeting.
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_err_packet.html>
pub fn mysql_error(number: u16, message: &str) -> Vec<u8> {
    let body = [&[0xff][..], &number.to_le_bytes(), message.as_bytes()].concat();
    mysql_packet(&body)
}

/// Builds the greeting of a MySQL server, protocol 10, that offers `mysql_native_password`.
/// <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets_protocol_handshake_v10.html>
pub fn mysql_greeting() -> Vec<u8> {
    // CLIENT_PROTOCOL_41, CLIENT_CONNECT_WITH_DB, CLIENT_SECURE_CONNECTION and CLIENT_PLUGIN_AUTH,
    // among others.
    let (low, high) = (0xa20a_u16.to_le_bytes(), 0x0008_u16.to_le_bytes());
    let mut body = vec![10];
    body.extend_from_slice(b"10.11.0-fake\0");
    body.extend_from_slice(&1_u32.to_le_bytes());
    body.extend_from_slice(b"12345678\0");
    body.extend_from_slice(&low);
    body.extend_from_slice(&[45, 2, 0]);
    body.extend_from_slice(&high);
    body.push(21);
    body.extend_from_slice(&[0; 10]);
    body.extend_from_slice(b"123456789012\0mysql_native_password\0");
    mysql_packet(&body)
}

/// Builds a packet: three bytes of length, a sequence number, and the body.
fn mysql_packet(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    [&length[..3], &[0], body].concat()
}

/// Accepts connections until it is aborted, which closes all of them.
async fn accept(
    listener: TcpListener,
    mut scripts: VecDeque<Vec<ServerStep>>,
    then: Option<String>,
    accepted: Arc<AtomicUsize>,
) {
    let mut tasks = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        let (script, then) = (scripts.pop_front(), then.clone());
        // The client sees how the connection ends, so the result is ignored.
        tasks.spawn(async move {
            let _ = match (script, then) {
                (Some(script), _) => play(script, client).await,
                (None, Some(server)) => forward(client, &server).await,
                (None, None) => Ok(()),
            };
        });
    }
}

async fn play(script: Vec<ServerStep>, mut client: TcpStream) -> io::Result<()> {
    for line in script {
        match line {
            ServerStep::Receive => _ = client.read(&mut [0; 4096]).await?,
            ServerStep::Send(bytes) => client.write_all(&bytes).await?,
            // Until the client closes the connection.
            ServerStep::FallSilent => while client.read(&mut [0; 4096]).await? > 0 {},
            ServerStep::Reset => return client.set_zero_linger(),
        }
    }
    client.shutdown().await
}

async fn forward(mut client: TcpStream, server: &str) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}
