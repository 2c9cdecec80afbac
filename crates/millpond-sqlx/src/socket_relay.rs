//! Leads a driver to one address of a host, while it goes on believing that it talks to the name.
//!
//! The name that TLS asks for and verifies is the host of the driver's options, and so is the
//! address that it dials. To choose the address and to keep the name, the driver is given a Unix
//! socket, behind which the bytes are passed on. That costs a copy, so it is done only where an
//! address of the host is silent.

use sqlx::Error;
use std::fs::{self, DirBuilder};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::pin::pin;
use tokio::net::{TcpStream, UnixListener, UnixStream};

/// Connects to `address` through a socket of that name in a directory, with which `connect` is
/// called.
///
/// # Errors
///
/// Those of `connect`, and that the address or the socket could not be had.
///
/// # Cancel safety
///
/// Nothing is left behind if the future is dropped.
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
        // It ends when either side closes.
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

/// A directory that nobody else can look into, for as long as the socket in it is needed.
struct Dir(PathBuf);

impl Dir {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("millpond-{:016x}", fastrand::u64(..)));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}
