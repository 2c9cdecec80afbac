//! Opening sockets, encrypted or not, and telling a server that speaks TLS from one that does not.

use crate::connect_options::{Node, Tls};
use crate::driver::within;
use crate::error::RedisError;
use crate::fred_settings::rustls_config;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

/// How long one address of a host is tried alone before the next is tried beside it: RFC 8305.
const ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// How long a TLS handshake may go without an end before the server is asked whether it speaks without.
const PLAIN_DELAY: Duration = Duration::from_millis(250);

/// How many questions of the system's may stay without an answer: see [`RedisConnectOptions::tcp_keepalive`].
///
/// [`RedisConnectOptions::tcp_keepalive`]: crate::RedisConnectOptions::tcp_keepalive
const KEEPALIVE_PROBES: u32 = 4;

/// Where a server is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    Network(&'a Node),
    Unix(&'a Path),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(node) => node.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A socket, whatever it is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens a socket.
///
/// # Errors
///
/// [`RedisError::Setup`] if it can never be, [`RedisError::NotSent`] if it cannot be now.
///
/// # Cancel safety
///
/// Nothing is left of it.
pub(crate) async fn dial(
    place: Place<'_>,
    tls: Option<&Tls>,
    keepalive: Duration,
) -> Result<Box<dyn Stream>, RedisError> {
    match (place, tls) {
        (Place::Unix(path), _) => {
            let stream = UnixStream::connect(path).await;
            Ok(Box::new(stream.map_err(|error| unsent(&place.to_string(), &error))?))
        }
        (Place::Network(node), None) => Ok(Box::new(tcp(node, keepalive).await?)),
        (Place::Network(node), Some(tls)) => {
            let connector = TlsConnector::from(Arc::new(rustls_config(tls)?));
            let stream = tcp(node, keepalive).await?;
            tokio::select! {
                stream = connector.connect(server_name(node)?, stream) => {
                    Ok(Box::new(stream.map_err(|error| refused(node, &error))?))
                }
                () = answers_without_tls(node) => Err(has_no_tls(node)),
            }
        }
    }
}

/// Whether a server, which has hung up on somebody who came without TLS, speaks TLS.
pub(crate) async fn speaks_tls(node: &Node, limit: Duration) -> bool {
    let asking = async {
        let nobody = ClientConfig::builder_with_provider(Arc::new(fred::rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let stream = tcp(node, Duration::ZERO).await.ok()?;
        let outcome = TlsConnector::from(Arc::new(nobody)).connect(server_name(node).ok()?, stream).await;
        Some(match outcome.as_ref().map_err(tls_error) {
            Ok(_) => true,
            Err(None | Some(TlsError::InvalidMessage(_))) => false,
            // About its certificate, or ours.
            Err(Some(_)) => true,
        })
    };
    within(limit, asking).await.flatten().unwrap_or(false)
}

/// Ends if a server turns out not to speak TLS. One that does not waits in silence for the end of a line, which never comes.
async fn answers_without_tls(node: &Node) {
    sleep(PLAIN_DELAY).await;
    let asking = async {
        let mut stream = tcp(node, Duration::ZERO).await.ok()?;
        // It says nothing of us, and a server that wants a password says so.
        stream.write_all(b"PING\r\n").await.ok()?;
        stream.read_u8().await.ok()
    };
    if !matches!(asking.await, Some(b'+' | b'-')) {
        pending::<()>().await;
    }
}

fn has_no_tls(node: &Node) -> RedisError {
    let way_out = "give the port on which it does (tls-port in redis.conf)";
    RedisError::Setup { reason: format!("the server does not speak TLS at {node}: {way_out}") }
}

fn server_name(node: &Node) -> Result<ServerName<'static>, RedisError> {
    ServerName::try_from(node.host.clone()).map_err(|_| RedisError::Setup {
        reason: format!("TLS needs a host name or an address, and {} is none", node.host),
    })
}

/// Connects to one of the addresses of a host: to the first, and after a moment to the next beside it.
async fn tcp(node: &Node, keepalive: Duration) -> Result<TcpStream, RedisError> {
    let lookup = lookup_host((node.host.as_str(), node.port)).await;
    let mut addresses = lookup.map_err(|error| unsent(&node.to_string(), &error))?;
    let (mut trying, mut failed) = (FuturesUnordered::new(), Vec::new());
    let mut next = addresses.next();
    while next.is_some() || !trying.is_empty() {
        if let Some(address) = next.take() {
            trying.push(try_address(address, keepalive));
            next = addresses.next();
        }
        tokio::select! {
            biased;
            Some(outcome) = trying.next() => match outcome {
                Ok(stream) => return Ok(stream),
                Err(error) => failed.push(error),
            },
            () = sleep(ADDRESS_DELAY), if next.is_some() => {}
        }
    }
    let reason = if failed.is_empty() { format!("{node} has no address") } else { failed.join("; ") };
    Err(RedisError::NotSent { reason })
}

async fn try_address(address: SocketAddr, keepalive: Duration) -> Result<TcpStream, String> {
    let told = |error: io::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address).await.map_err(told)?;
    stream.set_nodelay(true).map_err(told)?;
    keep_alive(&stream, keepalive).map_err(told)?;
    Ok(stream)
}

/// Has the system find out whether the other side is still there.
fn keep_alive(stream: &TcpStream, idle: Duration) -> io::Result<()> {
    if idle.is_zero() {
        return Ok(());
    }
    let idle = idle.max(Duration::from_secs(1));
    let interval = (idle / KEEPALIVE_PROBES).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(idle + interval * KEEPALIVE_PROBES))?;
    Ok(())
}

fn unsent(place: &str, error: &io::Error) -> RedisError {
    RedisError::NotSent { reason: format!("{place}: {error}") }
}

fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref().and_then(|error| error.downcast_ref())
}

/// What a TLS handshake ended with.
fn refused(node: &Node, error: &io::Error) -> RedisError {
    let setup = |reason| RedisError::Setup { reason };
    match tls_error(error) {
        Some(TlsError::InvalidCertificate(cause)) => {
            setup(format!("the server's certificate is not accepted: {cause:?}"))
        }
        Some(TlsError::InvalidMessage(_)) => has_no_tls(node),
        Some(cause) => setup(format!("no TLS with {node}: {cause}")),
        None => RedisError::NotSent { reason: format!("{node} hung up during the TLS handshake: {error}") },
    }
}

/// Why nothing can be read or written any more. What the other side says against this one by TLS stays so.
pub(crate) fn broken(error: &io::Error) -> RedisError {
    match tls_error(error) {
        Some(cause @ TlsError::AlertReceived(_)) => RedisError::Setup { reason: format!("no TLS: {cause}") },
        _ => RedisError::Lost { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_system_is_told_how_long_a_connection_may_be_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = async |seconds| {
            let stream = try_address(address, Duration::from_secs(seconds)).await.unwrap();
            let socket = SockRef::from(&stream);
            let keepalive = socket.keepalive().unwrap().then(|| {
                let (idle, interval) = (socket.tcp_keepalive_time().unwrap(), socket.tcp_keepalive_interval().unwrap());
                (idle.as_secs(), interval.as_secs(), socket.tcp_keepalive_retries().unwrap())
            });
            (keepalive, socket.tcp_user_timeout().unwrap().map(|limit| limit.as_secs()))
        };
        assert_eq!(options(60).await, (Some((60, 15, 4)), Some(120)));
        assert_eq!(options(1).await, (Some((1, 1, 4)), Some(5)));
        assert_eq!(options(0).await, (None, None));
    }
}
