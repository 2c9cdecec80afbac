//! The handshake of a stand-in: a connection that leads to no server.

use millpond_sqlx::backend_api::{StandInClient, StandInServer};
use sqlx::Error;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::io::{self, Read, Write};
use std::sync::OnceLock;

/// AuthenticationOk and ReadyForQuery.
const READY: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

/// The longest startup message that is read, in bytes; the driver's has some hundred.
const STARTUP_MAX: u32 = 4 * 1024;

static SERVER: StandInServer = StandInServer::new(handshake);

/// Returns options with which the driver opens a stand-in.
pub(crate) fn options() -> Result<PgConnectOptions, Error> {
    // The driver reads the environment for them.
    static OPTIONS: OnceLock<PgConnectOptions> = OnceLock::new();
    if let Some(options) = OPTIONS.get() {
        return Ok(options.clone());
    }
    let port = SERVER.port()?;
    let options = OPTIONS.get_or_init(|| {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username("millpond")
            .password("")
            .ssl_mode(PgSslMode::Disable)
    });
    Ok(options.clone())
}

fn handshake(client: &mut StandInClient) -> io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    // The length counts itself.
    let rest = u32::from_be_bytes(length).saturating_sub(4).min(STARTUP_MAX);
    io::copy(&mut client.take(rest.into()), &mut io::sink())?;
    client.write_all(READY)
}
