//! A server that answers as a test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// The end of an answer after which the connection ends.
pub const HANG_UP: &[u8] = b"hang up";

/// Listens until it is dropped.
pub struct Scripted {
    pub address: SocketAddr,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Answers every command. The function gets the number of the connection and the words.
    pub async fn start(
        answer: impl Fn(usize, &[Vec<u8>]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    /// The same on a listener that there was before.
    pub fn on(
        listener: TcpListener,
        answer: impl Fn(usize, &[Vec<u8>]) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let (answer, open) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&open);
        let task = tokio::spawn(async move {
            // Ends with the listener.
            let mut serving = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, counted) = (Arc::clone(&answer), Arc::clone(&counted));
                counted.fetch_add(1, Ordering::SeqCst);
                serving.spawn(async move {
                    serve(stream, |words| answer(number, words)).await;
                    counted.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, task }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: impl Fn(&[Vec<u8>]) -> Vec<u8>) {
    let (mut input, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        while let Some((words, length)) = command(&input) {
            input.drain(..length);
            let answer = answer(&words);
            let last = answer.strip_suffix(HANG_UP);
            if stream.write_all(last.unwrap_or(&answer)).await.is_err() || last.is_some() {
                return;
            }
        }
        match stream.read(&mut piece).await {
            Ok(read) if read > 0 => input.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
}

/// The first command, and how long it is.
fn command(input: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut at = 0;
    let count = number(input, &mut at)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(input, &mut at)?;
        words.push(input.get(at..at + length)?.to_vec());
        at += length + 2;
    }
    (at <= input.len()).then_some((words, at))
}

fn number(input: &[u8], at: &mut usize) -> Option<usize> {
    let line = input.get(*at + 1..)?;
    let end = line.iter().position(|byte| *byte == b'\r')?;
    *at += end + 3;
    std::str::from_utf8(&line[..end]).ok()?.parse().ok()
}

/// What Redis would say to a few commands.
pub fn plain(words: &[Vec<u8>]) -> Vec<u8> {
    let bulk = |text: &[u8]| [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat();
    match (&words[0][..], words.last()) {
        (b"PING", Some(nonce)) if words.len() > 1 => bulk(nonce),
        (b"PING", _) => b"+PONG\r\n".to_vec(),
        (b"ECHO" | b"GET", Some(text)) => bulk(text),
        (b"HELLO", _) => b"-ERR unknown command 'HELLO'\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}

#[cfg(feature = "fred")]
/// Stands before a server and makes it one that does not know HELLO.
pub async fn without_hello(server: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move {
                let ((mut from, mut back), (mut answers, mut to)) =
                    (client.split(), server.split());
                let asking = async {
                    let mut piece = [0; 4096];
                    while let Ok(read) = from.read(&mut piece).await
                        && read > 0
                    {
                        let text = piece[..read].windows(5).position(|word| word == b"HELLO");
                        if let Some(at) = text {
                            piece[at + 4] = b'X';
                        }
                        to.write_all(&piece[..read]).await?;
                    }
                    to.shutdown().await
                };
                drop(tokio::join!(asking, tokio::io::copy(&mut answers, &mut back)));
            });
        }
    });
    address
}
