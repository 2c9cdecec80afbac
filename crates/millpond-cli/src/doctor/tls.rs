//! How long a TLS handshake takes, apart from the TCP connect before and the login after it.
//!
//! Nothing is sent over these connections, so the certificate does not matter: whether the service
//! trusts it is found out by connecting as the service does.

use super::measured::{CONNECTS, median};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Longer than that, it is not measured.
const LIMIT: Duration = Duration::from_secs(5);

/// What precedes the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prelude {
    /// Nothing: Redis.
    None,
    /// A request for TLS, which the server accepts.
    Postgres,
    /// The server's greeting, then a request for TLS.
    MySql,
}

/// Returns the median time of a handshake, the prelude not included; `None` if there is none.
pub async fn handshake_time(host: &str, port: u16, prelude: Prelude) -> Option<Duration> {
    let config = Arc::new(config()?);
    let mut times = Vec::new();
    for _ in 0..CONNECTS {
        let handshake = handshake(host, port, prelude, Arc::clone(&config));
        times.push(timeout(LIMIT, handshake).await.ok()?.ok()?);
    }
    median(times)
}

async fn handshake(
    host: &str,
    port: u16,
    prelude: Prelude,
    config: Arc<ClientConfig>,
) -> io::Result<Duration> {
    let address = lookup_host((host, port)).await?.next().ok_or(ErrorKind::NotFound)?;
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match prelude {
        Prelude::None => {}
        Prelude::Postgres => request_of_postgres(&mut stream).await?,
        Prelude::MySql => request_of_mysql(&mut stream).await?,
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let started = Instant::now();
    let mut encrypted = TlsConnector::from(config).connect(name, stream).await?;
    let took = started.elapsed();
    let _ = encrypted.shutdown().await;
    Ok(took)
}

async fn request_of_postgres(stream: &mut TcpStream) -> io::Result<()> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    stream.write_all(&SSL_REQUEST).await?;
    match stream.read_u8().await? {
        b'S' => Ok(()),
        _ => Err(ErrorKind::Unsupported.into()),
    }
}

async fn request_of_mysql(stream: &mut TcpStream) -> io::Result<()> {
    // The length of a packet in three bytes, its number in one.
    let [low, middle, high, _number] = stream.read_u32().await?.to_be_bytes();
    let mut greeting = vec![0; usize::from_le_bytes([low, middle, high, 0, 0, 0, 0, 0])];
    stream.read_exact(&mut greeting).await?;
    // CLIENT_PROTOCOL_41, CLIENT_SSL, CLIENT_TRANSACTIONS, CLIENT_SECURE_CONNECTION.
    const CAPABILITIES: u32 = 0x0200 | 0x0800 | 0x2000 | 0x8000;
    const PACKET_MAX: u32 = 1 << 24;
    const UTF8MB4: u8 = 45;
    let mut request = vec![32, 0, 0, 1];
    request.extend(CAPABILITIES.to_le_bytes());
    request.extend(PACKET_MAX.to_le_bytes());
    request.push(UTF8MB4);
    request.extend([0; 23]);
    stream.write_all(&request).await
}

fn config() -> Option<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .ok()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    Some(config)
}

/// Accepts every certificate, since nothing is sent.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
