//! A socket that counts written commands against the answers read. An answer without a command
//! never reaches the driver, which would drop it or give it to the next caller.

use crate::driver::scanner::{Malformed, Scanner};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A larger frame leaves the driver with buffers that it never frees.
const FRAME_MAX: usize = 4 * 1024 * 1024;

/// A socket on which an answer without a command is an error.
pub(crate) struct Counted<S> {
    stream: S,
    commands: Scanner,
    answers: Scanner,
    /// The bytes so far of the command that is being written and of the answer that is being read.
    lengths: (usize, usize),
    traffic: Arc<Traffic>,
}

/// What is known of a socket outside the driver.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// When each unanswered command was begun, the oldest first.
    owed: Mutex<VecDeque<Instant>>,
    is_large: AtomicBool,
}

impl Traffic {
    /// When the oldest unanswered command was begun.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.owed().front().copied()
    }

    /// Returns whether a frame was so large that the driver's buffers should not be kept.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large.load(Ordering::Relaxed)
    }

    fn owed(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes of a frame to its length, and starts again at its end.
    fn measure(&self, length: &mut usize, more: usize, is_end: bool) {
        *length = length.saturating_add(more);
        if *length > FRAME_MAX {
            self.is_large.store(true, Ordering::Relaxed);
        }
        if is_end {
            *length = 0;
        }
    }
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S) -> Self {
        let (commands, answers) = (Scanner::default(), Scanner::default());
        Self { stream, commands, answers, lengths: (0, 0), traffic: Arc::default() }
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// Counts what was written.
    fn count_commands(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut now = None;
        while !bytes.is_empty() {
            // It may be answered before all of it is written.
            if self.commands.is_between() {
                self.traffic.owed().push_back(*now.get_or_insert_with(Instant::now));
            }
            let end = self
                .commands
                .feed(bytes)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            self.traffic.measure(&mut self.lengths.0, end.unwrap_or(bytes.len()), end.is_some());
            bytes = end.and_then(|end| bytes.get(end..)).unwrap_or_default();
        }
        Ok(())
    }

    /// Counts what was read. An error without a command is passed on: a server that has reached its
    /// limit of clients sends one.
    fn count_answers(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let malformed = |malformed: Malformed| io::Error::other(malformed.to_string());
            let end = self.answers.feed(bytes).map_err(malformed)?;
            self.traffic.measure(&mut self.lengths.1, end.unwrap_or(bytes.len()), end.is_some());
            let Some(end) = end else { return Ok(()) };
            match self.answers.kind() {
                b'>' => {}
                kind if self.traffic.owed().pop_front().is_some() || kind == b'-' => {}
                _ => {
                    let reason =
                        "it is out of sync with the server: an answer without a command arrived";
                    return Err(io::Error::other(reason));
                }
            }
            bytes = bytes.get(end..).unwrap_or_default();
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let outcome = self.count_answers(buf.filled().get(before..).unwrap_or_default());
        if outcome.is_err() {
            buf.set_filled(before);
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.count_commands(buf.get(..written).unwrap_or_default())?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Returns what is read of a server that sends these two pieces, after so many commands.
    async fn heard(commands: usize, pieces: [&[u8]; 2]) -> io::Result<Vec<u8>> {
        let (mut server, client) = duplex(1024);
        let mut client = Counted::new(client);
        for _ in 0..commands {
            client.write_all(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
        }
        let mut heard = Vec::new();
        for piece in pieces {
            server.write_all(piece).await.unwrap();
            client.read_buf(&mut heard).await?;
        }
        Ok(heard)
    }

    #[tokio::test]
    async fn an_error_that_nobody_waits_for_is_heard_in_whatever_pieces_it_comes() {
        let told = heard(0, [b"-ERR max number", b" of clients reached\r\n"]).await.unwrap();
        assert_eq!(told, b"-ERR max number of clients reached\r\n");
        assert!(heard(0, [b"+PO", b"NG\r\n"]).await.is_err());
    }

    #[tokio::test]
    async fn a_push_answers_nothing_even_behind_an_attribute() {
        for push in [&b">1\r\n+x\r\n"[..], b"|1\r\n+a\r\n:1\r\n>1\r\n+x\r\n"] {
            assert!(heard(0, [push, push]).await.is_ok());
            assert!(heard(1, [push, b"+PONG\r\n"]).await.is_ok());
            assert!(heard(1, [b"+PONG\r\n", &[push, b"+PONG\r\n"].concat()]).await.is_err());
        }
    }
}
