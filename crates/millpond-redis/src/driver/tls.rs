//! TLS: which certificates are accepted, and telling a server that speaks it from one that does not.

use crate::connect::node::Node;
use crate::connect::options::Tls;
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

/// How long a TLS handshake may go without an end before the server is asked whether it speaks without.
const PLAIN_DELAY: Duration = Duration::from_millis(250);

/// The way out for who has come without TLS.
pub(crate) const SPEAKS_TLS: &str = "the server speaks TLS on this port: write a scheme with TLS in front of its address, rediss://, \
     rediss-cluster:// or rediss-sentinel://, or call RedisConnectOptions::tls";

/// Encrypts a connection.
///
/// # Errors
///
/// [`RedisError::Setup`] if it can never be, [`RedisError::NotSent`] if it cannot be now.
///
/// # Cancel safety
///
/// The connection is closed.
pub(crate) async fn encrypt(node: &Node, tls: &Tls, stream: TcpStream) -> Result<TlsStream<TcpStream>, RedisError> {
    let connector = TlsConnector::from(Arc::new(rustls_config(tls)?));
    tokio::select! {
        stream = connector.connect(server_name(node)?, stream) => stream.map_err(|error| refused(node, &error)),
        () = answers_without_tls(node) => Err(has_no_tls(node)),
    }
}

/// Which certificates are accepted.
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
                .map_err(|error| setup(format!("the certificates in tls_ca = {name} cannot be read: {error}")))?;
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

/// Whether a server, which has hung up on somebody who came without TLS, speaks TLS.
pub(crate) async fn speaks_tls(node: &Node, limit: Duration) -> bool {
    let asking = async {
        let nobody = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
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

pub(crate) fn tls_error(error: &io::Error) -> Option<&TlsError> {
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
