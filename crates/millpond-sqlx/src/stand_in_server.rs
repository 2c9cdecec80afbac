//! Completes the handshake of stand-ins: connections that lead to no server.

use sqlx::Error;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a client may take for each step of its handshake.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// Pause after a failed accept, such as one without a free descriptor.
const PAUSE: Duration = Duration::from_millis(10);

/// Listens on the loopback interface, for as long as the process runs, and completes the handshake
/// of each client. Afterwards the connection is closed: no statement is ever sent over it. A
/// backend keeps one in a `static`, for its [`stand_in`].
///
/// [`stand_in`]: crate::backend_api::Backend::stand_in
#[derive(Debug)]
pub struct StandInServer {
    handshake: fn(&mut TcpStream) -> io::Result<()>,
    port: Mutex<Option<u16>>,
}

impl StandInServer {
    /// Creates a server, which listens from the first call of [`port`](Self::port).
    pub const fn new(handshake: fn(&mut TcpStream) -> io::Result<()>) -> Self {
        Self { handshake, port: Mutex::new(None) }
    }

    /// Returns the port on 127.0.0.1.
    ///
    /// # Errors
    ///
    /// An error if it cannot listen.
    pub fn port(&self) -> Result<u16, Error> {
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(port) = *port {
            return Ok(port);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own = listener.local_addr()?.port();
        let handshake = self.handshake;
        let name = "millpond-stand-in".to_owned();
        thread::Builder::new().name(name).spawn(move || accept(&listener, handshake))?;
        Ok(*port.insert(own))
    }
}

fn accept(listener: &TcpListener, handshake: fn(&mut TcpStream) -> io::Result<()>) {
    for client in listener.incoming() {
        let Ok(mut client) = client else {
            thread::park_timeout(PAUSE);
            continue;
        };
        // A thread of its own: another process may connect as well, and say nothing. If there is no
        // thread, the client sees that its connection was closed.
        let _thread = thread::Builder::new().spawn(move || {
            client.set_read_timeout(Some(STEP_LIMIT))?;
            client.set_write_timeout(Some(STEP_LIMIT))?;
            handshake(&mut client)
        });
    }
}
