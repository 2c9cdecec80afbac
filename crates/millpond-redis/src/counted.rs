//! A socket that counts the commands that are written against the answers that are read: a driver that drops an answer for
//! which nobody waits, or gives it to who comes next, never sees it.

use crate::frame::Scanner;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket on which an answer that nobody waits for is an error.
pub(crate) struct Counted<S> {
    stream: S,
    commands: Scanner,
    answers: Scanner,
    /// How many commands have been begun, and are not answered.
    owed: u64,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, commands: Scanner::default(), answers: Scanner::default(), owed: 0 }
    }

    /// What was written.
    fn ask(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // It may be answered before it is there as a whole.
            self.owed = self.owed.saturating_add(u64::from(self.commands.is_between()));
            let end = self.commands.feed(bytes).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            bytes = end.and_then(|end| bytes.get(end..)).unwrap_or_default();
        }
        Ok(())
    }

    /// What was read. An error as the first answer of all stands: so does a server speak that has no room.
    fn hear(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let is_error = self.answers.is_between() && bytes.first() == Some(&b'-');
            let malformed = |malformed: crate::frame::Malformed| io::Error::other(malformed.to_string());
            let Some(end) = self.answers.feed(bytes).map_err(malformed)? else { return Ok(()) };
            match self.owed.checked_sub(1) {
                Some(left) => self.owed = left,
                None if is_error => {}
                None => {
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
