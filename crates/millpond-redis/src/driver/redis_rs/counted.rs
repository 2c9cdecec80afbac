//! A socket that counts written commands against the answers read. What answers no command never
//! reaches the driver, which would give it to the next caller: a push is left out, an answer
//! without a command ends the connection.

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
    /// The bytes so far of the answer that is being read.
    length: usize,
    /// The beginning of a character whose rest has not arrived. It is not counted yet.
    held: Vec<u8>,
    /// Whether bytes of the answer that is being read were passed on.
    is_passed_on: bool,
    /// Why the connection has ended, once the bytes before that are passed on.
    ended: Option<&'static str>,
    traffic: Arc<Traffic>,
}

/// The reason that the callers of a connection see.
const UNEXPECTED_ANSWER: &str =
    "it is out of sync with the server: an answer without a command arrived";

/// The end of a connection after the last words of a server that refuses it.
const REFUSED: &str = "the server has refused it";

/// What is known of a socket outside the driver.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// When each unanswered command was begun, the oldest first.
    unanswered: Mutex<VecDeque<Instant>>,
    is_large: AtomicBool,
}

impl Traffic {
    /// When the oldest unanswered command was begun.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.unanswered().front().copied()
    }

    /// Returns whether so much was written or read at once that the driver's buffers should not be
    /// kept.
    pub(crate) fn is_large(&self) -> bool {
        self.is_large.load(Ordering::Relaxed)
    }

    fn unanswered(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how many bytes the driver has had to hold at once.
    fn measure(&self, length: usize) {
        if length > FRAME_MAX {
            self.is_large.store(true, Ordering::Relaxed);
        }
    }
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S) -> Self {
        let (commands, answers) = (Scanner::default(), Scanner::default());
        let (length, held, is_passed_on, ended) = (0, Vec::new(), false, None);
        let traffic = Arc::default();
        Self { stream, commands, answers, length, held, is_passed_on, ended, traffic }
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
                self.traffic.unanswered().push_back(*now.get_or_insert_with(Instant::now));
            }
            let end = self
                .commands
                .feed(bytes)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
            bytes = end.and_then(|end| bytes.get(end..)).unwrap_or_default();
        }
        Ok(())
    }

    /// Counts what was read, from `start` on, and leaves out pushes. An error without a command is
    /// passed on, as the last words of the server: one that has reached its limit of clients sends
    /// one.
    fn count_answers(&mut self, buf: &mut ReadBuf<'_>, start: usize) -> io::Result<()> {
        // Bytes before `kept` are passed on; those from `at` on are not looked at yet.
        let (mut kept, mut at) = (start, start);
        while let Some(bytes) = buf.filled().get(at..).filter(|bytes| !bytes.is_empty()) {
            let length = bytes.len();
            let malformed = |malformed: Malformed| io::Error::other(malformed.to_string());
            // Rarely any, so that this allocates nothing.
            let mut not_ascii = Vec::new();
            let end = self
                .answers
                .feed_lines(bytes, |position| not_ascii.push(position))
                .map_err(malformed)?;
            if let Some(text) = buf.filled_mut().get_mut(at..).filter(|_| !not_ascii.is_empty()) {
                replace_invalid(text, &not_ascii);
            }
            let (begin, next) = (at, at.saturating_add(end.unwrap_or(length)));
            at = next;
            self.length = self.length.saturating_add(next.saturating_sub(begin));
            self.traffic.measure(self.length);
            let is_push = self.answers.kind() == b'>';
            if is_push && self.is_passed_on {
                // Attributes of which a part was passed on belong to a push.
                self.ended = Some(UNEXPECTED_ANSWER);
                break;
            }
            if !is_push {
                buf.filled_mut().copy_within(begin..next, kept);
                kept = kept.saturating_add(next.saturating_sub(begin));
            }
            self.is_passed_on = !is_push && end.is_none();
            if end.is_some() {
                self.length = 0;
                if !is_push && self.traffic.unanswered().pop_front().is_none() {
                    let is_error = self.answers.kind() == b'-';
                    self.ended = Some(if is_error { REFUSED } else { UNEXPECTED_ANSWER });
                    if !is_error {
                        kept = kept.saturating_sub(next.saturating_sub(begin));
                    }
                    break;
                }
            }
        }
        buf.set_filled(kept);
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> Counted<S> {
    /// Reads, and holds back the beginning of a character whose rest has not arrived: nobody could
    /// say yet whether the character is valid. Returns whether anything was read.
    fn poll_characters(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        if room <= self.held.len() {
            // The rest would not fit.
            let fitting: Vec<u8> = self.held.drain(..room).collect();
            buf.put_slice(&fitting);
            return Poll::Ready(Ok(room > 0));
        }
        buf.put_slice(&self.held);
        let with_held = buf.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !matches!(outcome, Poll::Ready(Ok(()))) || buf.filled().len() == with_held {
            buf.set_filled(before);
            return outcome.map_ok(|()| false);
        }
        let read = buf.filled().get(before..).unwrap_or_default();
        let held = unfinished(read).to_vec();
        buf.set_filled(buf.filled().len().saturating_sub(held.len()));
        self.held = held;
        Poll::Ready(Ok(true))
    }
}

/// Returns the beginning of a character at the end of some bytes.
fn unfinished(bytes: &[u8]) -> &[u8] {
    let ends = (1..4).filter_map(|length| bytes.get(bytes.len().checked_sub(length)?..));
    let begins_one = |end: &&[u8]| {
        str::from_utf8(end)
            .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
    };
    ends.into_iter().find(begins_one).unwrap_or_default()
}

/// Replaces bytes at these positions that are no characters by question marks, for which redis-rs
/// would end the connection for all its callers.
fn replace_invalid(bytes: &mut [u8], positions: &[usize]) {
    for run in positions.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        let mut rest = bytes.get_mut(*first..=*last).unwrap_or_default();
        while let Err(error) = str::from_utf8(rest) {
            let (_, invalid) = rest.split_at_mut(error.valid_up_to());
            let length = error.error_len().unwrap_or(invalid.len());
            let (invalid, behind) = invalid.split_at_mut(length);
            invalid.fill(b'?');
            rest = behind;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            if let Some(reason) = self.ended {
                return Poll::Ready(Err(io::Error::other(reason)));
            }
            if !ready!(self.poll_characters(cx, buf))? {
                return Poll::Ready(Ok(()));
            }
            if let Err(error) = self.count_answers(buf, before) {
                buf.set_filled(before);
                return Poll::Ready(Err(error));
            }
            // Nothing would mean the end of the stream.
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(reason) = self.ended {
            return Poll::Ready(Err(io::Error::other(reason)));
        }
        self.traffic.measure(buf.len());
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

    /// Returns what is read of a server that sends these pieces, after so many commands, and how
    /// reading ends.
    async fn heard(commands: usize, pieces: &[&[u8]]) -> (Vec<u8>, io::Result<()>) {
        let (mut server, client) = duplex(1024);
        let mut client = Counted::new(client);
        for _ in 0..commands {
            client.write_all(b"*1\r\n$4\r\nPING\r\n").await.unwrap();
        }
        let mut heard = Vec::new();
        for piece in pieces {
            server.write_all(piece).await.unwrap();
            let read = tokio::select! {
                biased;
                read = client.read_buf(&mut heard) => read,
                () = tokio::task::yield_now() => Ok(0),
            };
            if let Err(error) = read {
                return (heard, Err(error));
            }
        }
        drop(server);
        let end = client.read_to_end(&mut heard).await.map(drop);
        (heard, end)
    }

    #[tokio::test]
    async fn an_error_that_nobody_waits_for_is_the_last_that_is_heard() {
        let error = b"-ERR max number of clients reached\r\n";
        for pieces in [&[&error[..9], &error[9..], b"+PONG\r\n"][..], &[error, error]] {
            let (forwarded, end) = heard(0, pieces).await;
            assert_eq!(forwarded, error);
            assert!(end.unwrap_err().to_string().contains("refused"));
        }
        let (forwarded, end) = heard(1, &[&[b"+PONG\r\n", &error[..], error].concat()]).await;
        assert_eq!(forwarded, [b"+PONG\r\n", &error[..]].concat());
        assert!(end.is_err());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_waits_for_is_never_complete() {
        let (forwarded, end) = heard(0, &[b"+PO", b"NG\r\n+PONG\r\n"]).await;
        assert_eq!(forwarded, b"+PO");
        assert!(end.unwrap_err().to_string().contains("out of sync"));
        let (forwarded, end) = heard(1, &[b"+PONG\r\n:1\r\n"]).await;
        assert_eq!(forwarded, b"+PONG\r\n");
        assert!(end.is_err());
    }

    #[tokio::test]
    async fn bytes_of_a_line_that_are_no_text_are_replaced_wherever_they_are_cut() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"-ERR a\xffb\r\n", b"-ERR a?b\r\n"),
            (b"+\xc3\xa9\xc3\r\n", b"+\xc3\xa9?\r\n"),
            (b"+\xe2\x82\xac \xf0\x9f\x92\xa7\r\n", b"+\xe2\x82\xac \xf0\x9f\x92\xa7\r\n"),
            (b"+\xf0\x9f\x92(\r\n", b"+???(\r\n"),
            (b"*2\r\n-\xff\r\n*1\r\n+\xc3\xff\r\n", b"*2\r\n-?\r\n*1\r\n+??\r\n"),
            (b"$4\r\n\xff\xc3\xe2\x82\r\n", b"$4\r\n\xff\xc3\xe2\x82\r\n"),
        ];
        for (sent, wanted) in cases {
            for at in 0..sent.len() {
                let (first, second) = sent.split_at(at);
                let (read, end) = heard(1, &[first, second]).await;
                assert_eq!(read, wanted, "cut at {at}");
                assert!(end.is_ok());
            }
            let pieces: Vec<&[u8]> = sent.chunks(1).collect();
            assert_eq!(heard(1, &pieces).await.0, wanted);
        }
    }

    #[tokio::test]
    async fn nothing_is_written_once_the_server_has_said_its_last_word() {
        let (mut server, client) = duplex(1024);
        let mut client = Counted::new(client);
        server.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
        client.read_buf(&mut Vec::new()).await.unwrap();
        assert!(client.write_all(b"*1\r\n$4\r\nPING\r\n").await.is_err());
    }

    #[tokio::test]
    async fn pushes_are_left_out_and_answer_nothing() {
        let kinds = [
            &b">1\r\n+x\r\n"[..],
            b">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
            b"|1\r\n+a\r\n:1\r\n>1\r\n+x\r\n",
        ];
        for push in kinds {
            let all = [push, b"+PO", b"NG\r\n", push, b":1\r\n", push].concat();
            let (forwarded, end) = heard(2, &[&all]).await;
            assert_eq!(forwarded, b"+PONG\r\n:1\r\n");
            assert!(end.is_ok());
            let (forwarded, end) = heard(1, &[push, b"+PONG\r\n", push, b"+PONG\r\n"]).await;
            assert_eq!(forwarded, b"+PONG\r\n");
            assert!(end.is_err());
        }
        let pieces: Vec<&[u8]> = kinds[1].chunks(1).collect();
        let (forwarded, end) = heard(1, &[&pieces[..], &[b"+PONG\r\n"]].concat()).await;
        assert_eq!(forwarded, b"+PONG\r\n");
        assert!(end.is_ok());
        let pieces: Vec<&[u8]> = kinds[2].chunks(1).collect();
        assert!(heard(1, &pieces).await.1.is_err(), "a part of it was passed on");
    }
}
