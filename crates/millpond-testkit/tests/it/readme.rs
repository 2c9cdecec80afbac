//! The manager of the README, against a server that echoes what it receives.

use millpond_core::{BoxError, ConnectInfo, Manager, Triage};
use millpond_testkit::Fixture;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A connection, and whether a query is under way on it.
#[derive(Debug)]
struct Line {
    stream: TcpStream,
    asking: bool,
}

impl Line {
    async fn ask(&mut self, number: i64) -> io::Result<i64> {
        self.asking = true;
        self.stream.write_i64(number).await?;
        let answer = self.stream.read_i64().await?;
        self.asking = false;
        Ok(answer)
    }
}

struct Tcp(SocketAddr);

impl Manager for Tcp {
    type Connection = Line;
    type Error = io::Error;

    async fn connect(&self, _: &ConnectInfo) -> io::Result<Line> {
        Ok(Line { stream: TcpStream::connect(self.0).await?, asking: false })
    }

    async fn ping(&self, line: &mut Line) -> io::Result<()> {
        line.ask(1).await.map(drop)
    }

    fn triage(&self, line: &mut Line) -> Triage {
        if line.asking { Triage::Discard } else { Triage::Keep }
    }
}

/// An echo server on the test's own runtime that keeps its clients.
#[derive(Default)]
struct Echo {
    clients: Arc<Mutex<HashMap<SocketAddr, JoinHandle<()>>>>,
}

impl Fixture for Echo {
    type Manager = Tcp;

    async fn manager(&self) -> Result<Tcp, String> {
        let server = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
        let address = server.local_addr().map_err(|error| error.to_string())?;
        let clients = Arc::clone(&self.clients);
        tokio::spawn(async move {
            while let Ok((mut client, peer)) = server.accept().await {
                let gone = Arc::clone(&clients);
                let serving = tokio::spawn(async move {
                    let (mut from, mut to) = client.split();
                    let _ = copy(&mut from, &mut to).await;
                    drop(client);
                    gone.lock().unwrap().remove(&peer);
                });
                clients.lock().unwrap().insert(peer, serving);
            }
        });
        Ok(Tcp(address))
    }

    async fn ask(&self, line: &mut Line, number: i64) -> Result<i64, BoxError> {
        Ok(line.ask(number).await?)
    }

    async fn kill(&self, line: &mut Line) -> Result<(), BoxError> {
        let serving = self.clients.lock().unwrap().remove(&line.stream.local_addr()?);
        if let Some(serving) = serving {
            serving.abort();
            let _ = serving.await;
        }
        Ok(())
    }

    async fn away(&self) -> Result<Tcp, BoxError> {
        Ok(Tcp(([127, 0, 0, 1], 1).into())) // no server has this port
    }

    async fn open_at_server(&self) -> Result<usize, BoxError> {
        Ok(self.clients.lock().unwrap().len())
    }
}

millpond_testkit::conformance! { fixture = Echo::default(), can = [Answers, Dies, Counted, Away] }
