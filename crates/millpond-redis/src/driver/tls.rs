//! TLS: which certificates are accepted, and whether a server speaks it at all.

use crate::connect::node::Node;
use crate::connect::options::{TcpTimes, Tls};
use crate::deadlines::within;
use crate::driver::tcp::tcp;
use crate::error::RedisError;
use rustls_native_certs::load_native_certs;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore};

/// How long a TLS handshake may take before the server is tried without TLS.
const PLAIN_DELAY: Duration = Duration::from_millis(250);

/// The error for a client without TLS.
pub(crate) const SPEAKS_TLS: &str = "the server speaks TLS on this port: write a scheme with TLS \
    in front of its address, rediss://, rediss-cluster:// or rediss-sentinel://, or call \
    RedisConnectOptions::tls";

/// Encrypts a connection.
///
/// # Errors
///
/// [`RedisError::Setup`] for permanent errors, else [`RedisError::NotSent`].
///
/// # Cancel safety
///
/// The connection is closed.
pub(crate) async fn encrypt(
    node: &Node,
    tls: &Tls,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, RedisError> {
    let connector = TlsConnector::from(Arc::new(rustls_config(tls)?));
    tokio::select! {
        stream = connector.connect(server_name(node)?, stream) => {
            stream.map_err(|error| refused(node, &error))
        }
        () = answers_without_tls(node) => Err(has_no_tls(node)),
    }
}

/// Returns a configuration that accepts the certificates of an authority, or of the system.
///
/// # Errors
///
/// [`RedisError::Setup`] if there are none.
pub(crate) fn rustls_config(tls: &Tls) -> Result<ClientConfig, RedisError> {
    let setup = |reason: String| RedisError::Setup { reason };
    let mut roots = RootCertStore::empty();
    match &tls.authority {
        Some(file) => {
            let name = file.display();
            let certificates = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| {
                    setup(format!("the certificates in tls_ca = {name} cannot be read: {error}"))
                })?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(setup(format!("there is no certificate in tls_ca = {name}")));
            }
        }
        None => {
            roots.add_parsable_certificates(load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| setup(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Returns whether a server that closed a connection without TLS speaks TLS.
pub(crate) async fn speaks_tls(node: &Node, limit: Duration) -> bool {
    let asking = async {
        let nobody = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .ok()?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let stream = tcp(node, TcpTimes::default()).await.ok()?;
        let outcome =
            TlsConnector::from(Arc::new(nobody)).connect(server_name(node).ok()?, stream).await;
        Some(match outcome.as_ref().map_err(tls_error) {
            Ok(_) => true,
            Err(None | Some(TlsError::InvalidMessage(_))) => false,
            // An error about a certificate.
            Err(Some(_)) => true,
        })
    };
    within(limit, asking).await.flatten().unwrap_or(false)
}

/// Completes if the server does not speak TLS. Such a server takes the handshake for the beginning
/// of a line and waits for its end.
async fn answers_without_tls(node: &Node) {
    sleep(PLAIN_DELAY).await;
    let asking = async {
        let mut stream = tcp(node, TcpTimes::default()).await.ok()?;
        // A PING reveals nothing, and a server that wants a password answers it too.
        stream.write_all(b"PING\r\n").await.ok()?;
        stream.read_u8().await.ok()
    };
    if !matches!(asking.await, Some(b'+' | b'-')) {
        pending::<()>().await;
    }
}

fn has_no_tls(node: &Node) -> RedisError {
    let help = "give the port on which it does (tls-port in redis.conf)";
    RedisError::Setup { reason: format!("the server does not speak TLS at {node}: {help}") }
}

fn server_name(node: &Node) -> Result<ServerName<'static>, RedisError> {
    ServerName::try_from(node.host.clone()).map_err(|_| RedisError::Setup {
        reason: format!("TLS needs a host name or an address, and {} is none", node.host),
    })
}

pub(crate) fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref().and_then(|error| error.downcast_ref())
}

/// The error of a failed TLS handshake.
fn refused(node: &Node, error: &io::Error) -> RedisError {
    let setup = |reason| RedisError::Setup { reason };
    match tls_error(error) {
        Some(TlsError::InvalidCertificate(cause)) => {
            setup(format!("the server's certificate is not accepted: {cause:?}"))
        }
        Some(TlsError::InvalidMessage(_)) => has_no_tls(node),
        Some(cause) => setup(format!("no TLS with {node}: {cause}")),
        None => RedisError::NotSent {
            reason: format!("{node} hung up during the TLS handshake: {error}"),
        },
    }
}
