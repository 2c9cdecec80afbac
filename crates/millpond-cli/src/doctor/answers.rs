//! What a database server says about itself and a connection, and where it is.

use super::measured::{Clock, Encryption, Memory};
use super::tls::Prelude;
use millpond::advice::ServerLimit;

/// What a server says about itself and a connection.
#[derive(Debug, Default)]
pub struct Answers {
    pub server: String,
    pub memory: Option<Memory>,
    pub encryption: Encryption,
    pub limits: Vec<ServerLimit>,
    pub open: Option<u64>,
    pub clock: Option<Clock>,
}

/// The address of a server, and what to write for a connection that is certainly encrypted.
pub struct Address {
    pub host: String,
    pub port: u16,
    pub tls_help: &'static str,
    /// True if the URL accepts an unencrypted connection from a server without TLS.
    pub may_fall_back: bool,
    /// What precedes a TLS handshake.
    pub prelude: Prelude,
}
