//! The manager of the README, against a server that says nothing.

use millpond_core::{ConnectInfo, Manager};
use std::io;
use std::net::SocketAddr;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

struct Tcp(SocketAddr);

impl Manager for Tcp {
    type Connection = TcpStream;
    type Error = io::Error;

    async fn connect(&self, _: &ConnectInfo) -> io::Result<TcpStream> {
        TcpStream::connect(self.0).await
    }

    async fn ping(&self, conn: &mut TcpStream) -> io::Result<()> {
        conn.writable().await
    }
}

/// A manager and the server that it connects to.
async fn tcp() -> Tcp {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = server.accept().await {
            tokio::spawn(async move { while client.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {} });
        }
    });
    Tcp(address)
}

millpond_testkit::conformance! { fixture = tcp, can = [] }
