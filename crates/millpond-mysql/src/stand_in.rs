//! The handshake of a stand-in: a connection that leads to no server.

use millpond_sqlx::backend_api::{StandInClient, StandInServer};
use sqlx::Error;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use std::io::{self, Read, Write};

/// The server's first packet: header, protocol 10, version, connection id and nonce, the capability
/// of protocol 4.1 alone, character set, status autocommit, and reserved bytes.
const GREETING: &[u8] = b"\x26\0\0\0\x0a8.0.0\0\0\0\0\0millpond\0\0\x02\x2d\x02\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The packet that accepts the login: header, OK, no rows, no id, status autocommit, no warnings.
const OK: &[u8] = b"\x07\0\0\x02\0\0\0\x02\0\0\0";

/// The longest login that is read, in bytes; the driver's has some hundred.
const LOGIN_MAX: u32 = 4 * 1024;

static SERVER: StandInServer = StandInServer::new(handshake);

/// Returns options with which the driver opens a stand-in, and sends no statement.
pub(crate) fn options() -> Result<MySqlConnectOptions, Error> {
    Ok(MySqlConnectOptions::new()
        .host("127.0.0.1")
        .port(SERVER.port()?)
        .username("millpond")
        .ssl_mode(MySqlSslMode::Disabled)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .set_names(false))
}

fn handshake(client: &mut StandInClient) -> io::Result<()> {
    client.write_all(GREETING)?;
    let mut header = [0; 4];
    client.read_exact(&mut header)?;
    let [low, middle, high, _sequence] = header;
    let length = u32::from_le_bytes([low, middle, high, 0]).min(LOGIN_MAX);
    io::copy(&mut client.take(length.into()), &mut io::sink())?;
    client.write_all(OK)
}
