//! Completes the handshake of stand-ins: connections that lead to no server.

use sqlx::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a client may take for its handshake.
const LIMIT: Duration = Duration::from_secs(10);

/// The number of handshakes at the same time. Other clients wait to be accepted.
const HANDSHAKES_MAX: usize = 64;

/// Pause after a failed accept, such as one without a free descriptor, and of one that waits.
const PAUSE: Duration = Duration::from_millis(10);

/// Completes the handshake of a client.
type Handshake = fn(&mut StandInClient) -> io::Result<()>;

/// Listens on the loopback interface, for as long as the process runs, and completes the handshake
/// of each client. Afterwards the connection is closed: no statement is ever sent over it. A
/// backend keeps one in a `static`, for its [`stand_in`].
///
/// [`stand_in`]: crate::backend_api::Backend::stand_in
#[derive(Debug)]
pub struct StandInServer {
    handshake: Handshake,
    port: Mutex<Option<u16>>,
}

impl StandInServer {
    /// Creates a server, which listens from the first call of [`port`](Self::port).
    pub const fn new(handshake: Handshake) -> Self {
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

/// A client of a [`StandInServer`]. Reads and writes fail 10 s after it was accepted.
#[derive(Debug)]
pub struct StandInClient {
    stream: TcpStream,
    deadline: Instant,
}

impl StandInClient {
    fn time_left(&self) -> io::Result<Option<Duration>> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(Some(left)),
        }
    }
}

impl Read for StandInClient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.time_left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for StandInClient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.time_left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn accept(listener: &TcpListener, handshake: Handshake) {
    // Held once by this thread, and once by each handshake.
    let running = Arc::new(());
    for client in listener.incoming() {
        let Ok(stream) = client else {
            thread::park_timeout(PAUSE);
            continue;
        };
        while Arc::strong_count(&running) > HANDSHAKES_MAX {
            thread::park_timeout(PAUSE);
        }
        let own = Arc::clone(&running);
        let mut client = StandInClient { stream, deadline: Instant::now() + LIMIT };
        // A thread of its own: another process may connect as well, and say nothing. If there is no
        // thread, the client sees that its connection was closed.
        let _thread = thread::Builder::new().spawn(move || {
            let _own = own;
            handshake(&mut client)
        });
    }
}
