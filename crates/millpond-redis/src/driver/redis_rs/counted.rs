//! A socket that counts the commands that are written against the answers that are read: a driver that drops an answer for
//! which nobody waits, or gives it to who comes next, never sees it.

use crate::driver::scanner::{Malformed, Scanner};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// A frame larger than this leaves the driver with buffers that it never gives back.
const FRAME_MAX: usize = 4 * 1024 * 1024;

/// A socket on which an answer that nobody waits for is an error.
pub(crate) struct Counted<S> {
    stream: S,
    commands: Scanner,
    answers: Scanner,
    /// How long the command and the answer are that are under way.
    lengths: (usize, usize),
    traffic: Arc<Traffic>,
}

/// What is known of a socket beside the driver.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// When the commands were begun that are not answered.
    owed: Mutex<VecDeque<Instant>>,
    is_large: AtomicBool,
}

impl Traffic {
    /// When the oldest command was begun that is not answered.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.owed().front().copied()
    }

    /// Whether it has carried so large a frame that the driver's buffers are not worth keeping.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large.load(Ordering::Relaxed)
    }

    fn owed(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes so many bytes more of a frame, and whether it ends with them.
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

    /// What was written.
    fn ask(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut now = None;
        while !bytes.is_empty() {
            // It may be answered before it is there as a whole.
            if self.commands.is_between() {
                self.traffic.owed().push_back(*now.get_or_insert_with(Instant::now));
            }
            let end = self.commands.feed(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            self.traffic.measure(&mut self.lengths.0, end.unwrap_or(bytes.len()), end.is_some());
            bytes = end.and_then(|end| bytes.get(end..)).unwrap_or_default();
        }
        Ok(())
    }

    /// What was read. An error that answers nothing stands: so does a server speak that has no room.
    fn hear(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let malformed = |malformed: Malformed| io::Error::other(malformed.to_string());
            let end = self.answers.feed(bytes).map_err(malformed)?;
            self.traffic.measure(&mut self.lengths.1, end.unwrap_or(bytes.len()), end.is_some());
            let Some(end) = end else { return Ok(()) };
            match self.answers.kind() {
                b'>' => {}
                kind if self.traffic.owed().pop_front().is_some() || kind == b'-' => {}
                _ => {
                    let reason = "it is out of step with the server: an answer came that nobody waits for";
                    return Err(io::Error::other(reason));
                }
            }
            bytes = bytes.get(end..).unwrap_or_default();
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let outcome = self.hear(buf.filled().get(before..).unwrap_or_default());
        if outcome.is_err() {
            buf.set_filled(before);
        }
        Poll::Ready(outcome)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.ask(buf.get(..written).unwrap_or_default())?;
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

    /// What a server that says this in two pieces is heard to say, after so many commands.
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
