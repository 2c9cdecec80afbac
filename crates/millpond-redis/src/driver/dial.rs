//! Opens the socket of a connection: over TCP, over TLS, or a Unix socket.

use crate::connect::node::Node;
use crate::connect::options::{TcpTimes, Tls};
use crate::driver::tcp::{tcp, unsent};
use crate::driver::tls::encrypt;
use crate::error::RedisError;
use std::fmt;
use std::path::Path;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// Where a server is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Destination<'a> {
    Network(&'a Node),
    Unix(&'a Path),
}

impl fmt::Display for Destination<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(node) => node.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// A socket of any kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens a socket.
///
/// # Errors
///
/// [`RedisError::Setup`] for permanent errors, else [`RedisError::NotSent`].
///
/// # Cancel safety
///
/// The socket is closed.
pub(crate) async fn dial(
    destination: Destination<'_>,
    tls: Option<&Tls>,
    times: TcpTimes,
) -> Result<Box<dyn Stream>, RedisError> {
    match (destination, tls) {
        (Destination::Unix(path), _) => {
            let stream = UnixStream::connect(path).await;
            Ok(Box::new(stream.map_err(|error| unsent(&destination.to_string(), &error))?))
        }
        (Destination::Network(node), None) => Ok(Box::new(tcp(node, times).await?)),
        (Destination::Network(node), Some(tls)) => {
            Ok(Box::new(encrypt(node, tls, tcp(node, times).await?).await?))
        }
    }
}
