//! Connects a driver to one address while TLS still verifies the host name.
//!
//! The host in the driver's options is both the name that TLS verifies and the address that the
//! driver dials. To choose the address and keep the name, the driver connects to a Unix socket, and
//! its bytes are relayed to the address. That costs a copy, so it is done only if another address
//! of the host does not respond.

use sqlx::Error;
use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::pin::pin;
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// Connects to `address` through a Unix socket called `name`, in a directory that `connect` is
/// called with.
///
/// # Errors
///
/// Those of `connect`, or an error if the address or the socket cannot be opened.
///
/// # Cancel safety
///
/// If the future is dropped, nothing is left behind.
pub async fn connect_through_socket<C, F>(
    address: SocketAddr,
    name: &str,
    connect: impl FnOnce(PathBuf) -> F,
) -> Result<C, Error>
where
    F: Future<Output = Result<C, Error>>,
{
    let server = TcpStream::connect(address).await?;
    server.set_nodelay(true)?;
    let dir = Dir::new()?;
    let listener = UnixListener::bind(dir.0.join(name))?;
    let accept = async {
        let (client, _) = listener.accept().await?;
        // The task ends when either side closes.
        tokio::spawn(relay(client, server));
        Ok::<(), io::Error>(())
    };
    let mut connect = pin!(connect(dir.0.clone()));
    tokio::select! {
        outcome = &mut connect => outcome,
        accepted = accept => {
            accepted?;
            connect.await
        }
    }
}

async fn relay(mut client: UnixStream, mut server: TcpStream) {
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        _ended = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ended = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// A private directory, removed when it is dropped.
struct Dir(PathBuf);

impl Dir {
    /// In the usual place for temporary files, or in memory where that is read-only.
    fn new() -> io::Result<Self> {
        let name = format!("millpond-{:016x}", fastrand::u64(..));
        let make = |parent: PathBuf| {
            let path = parent.join(&name);
            DirBuilder::new().mode(0o700).create(&path).map(|()| Self(path))
        };
        make(std::env::temp_dir()).or_else(|error| make("/dev/shm".into()).map_err(|_| error))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}
