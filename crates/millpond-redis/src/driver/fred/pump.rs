//! The task of a connection: writes the callers' commands and delivers the answers.

use super::frame::{Frame, read};
use super::state::{Shared, connection_ended, lost};
use crate::driver::overdue::{Overdue, SILENT};
use crate::driver::scanner::{Malformed, Scanner};
use crate::driver::tls::{SPEAKS_TLS, tls_error};
use crate::error::RedisError;
use crate::value::Value;
use bytes::{Buf, Bytes, BytesMut};
use std::future::Future;
use std::io;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;
use tokio_rustls::rustls::Error as TlsError;

/// How many bytes are read at once, at least.
const PIECE: usize = 16 * 1024;

/// How many reads may follow each other before commands are written: messages may never stop.
const READS_IN_TURN: usize = 16;

/// A buffer that had to hold more than this is freed once it is empty.
const BUFFER_MAX: usize = 256 * 1024;

/// The first byte that a TLS server sends to a client without TLS.
const TLS_ALERT: u8 = 0x15;

/// The most bytes in one TLS record: RFC 8446, 5.1.
const TLS_RECORD: usize = 16 * 1024;

/// Completes when the connection has ended.
pub(super) struct Pump<S> {
    shared: Arc<Shared>,
    stream: S,
    /// Commands that are being written.
    out: BytesMut,
    /// Whether `out` had to hold too much to be kept.
    is_large: bool,
    unflushed: bool,
    scanner: Scanner,
    input: BytesMut,
    /// How many bytes of the input the scanner has seen.
    seen: usize,
    overdue: Overdue,
    /// Dropped after the stream.
    _open: watch::Sender<()>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pump<S> {
    pub(super) fn new(stream: S, shared: Arc<Shared>, open: watch::Sender<()>) -> Self {
        Self {
            shared,
            stream,
            out: BytesMut::new(),
            is_large: false,
            unflushed: false,
            scanner: Scanner::default(),
            input: BytesMut::new(),
            seen: 0,
            overdue: Overdue::default(),
            _open: open,
        }
    }

    /// Writes as much as the socket takes. Ready if writing has failed.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if self.out.is_empty() {
                // The capacity is no measure: it leaves out the part that was written.
                if self.is_large {
                    self.out = BytesMut::new();
                }
                mem::swap(&mut self.out, &mut self.shared.lock().out);
                self.is_large = self.out.len() > BUFFER_MAX;
            }
            if self.out.is_empty() {
                if self.unflushed
                    && let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx))
                {
                    return Poll::Ready(error);
                }
                self.unflushed = false;
                return Poll::Pending;
            }
            // At most one TLS record: if the second of several fails, the first was sent, and the
            // error would not say so.
            let piece = self.out.get(..self.out.len().min(TLS_RECORD)).unwrap_or_default();
            match ready!(Pin::new(&mut self.stream).poll_write(cx, piece)) {
                Ok(0) => return Poll::Ready(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.out.advance(written);
                    self.unflushed = true;
                    let mut state = self.shared.lock();
                    state.written =
                        state.written.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
                }
                Err(error) => return Poll::Ready(error),
            }
        }
    }

    /// Reads what has arrived, up to a limit. Ready if reading has ended.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<RedisError> {
        for _ in 0..READS_IN_TURN {
            self.input.reserve(PIECE);
            match ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx)) {
                Ok(0) => return Poll::Ready(lost("the server has closed it")),
                Ok(_) => {}
                Err(error) => return Poll::Ready(broken(&error)),
            }
            if let Err(error) = self.deliver_all() {
                return Poll::Ready(error);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Delivers the frames that are complete.
    fn deliver_all(&mut self) -> Result<(), RedisError> {
        loop {
            let fresh = self.input.get(self.seen..).unwrap_or_default();
            let Some(end) = self.scanner.feed(fresh).map_err(unreadable)? else {
                self.seen = self.input.len();
                return Ok(());
            };
            let buffer = self.input.capacity();
            let frame = self.input.split_to(self.seen.saturating_add(end)).freeze();
            self.seen = 0;
            // The rest would keep the same memory alive.
            if frame.len() > BUFFER_MAX {
                self.input = BytesMut::from(&self.input[..]);
            }
            self.deliver(&frame, buffer)?;
        }
    }

    fn deliver(&self, bytes: &Bytes, buffer: usize) -> Result<(), RedisError> {
        let frame = read(bytes, self.scanner.kind(), buffer).map_err(unreadable)?;
        let mut state = self.shared.lock();
        let (is_message, value) = match frame {
            Frame::Push(parts) => (true, Value::List(parts)),
            Frame::Answer(value) => (state.is_message(&value), value),
        };
        let done = if is_message { state.receive(value) } else { state.answer(value)? };
        drop(state);
        if let Some(done) = done {
            done.deliver();
        }
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Pump<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.task_waker.register(cx.waker());
        // Reading comes first: the server's last words say more than a failed write, and after its
        // end nothing is written.
        let ended = match self.read(cx) {
            Poll::Ready(error) => error,
            Poll::Pending => match self.write(cx) {
                Poll::Ready(error) => broken(&error),
                Poll::Pending => {
                    let oldest = self.shared.lock().waiting.front().map(|waiting| waiting.due);
                    ready!(self.overdue.poll(cx, oldest));
                    lost(SILENT)
                }
            },
        };
        self.shared.lock().end(ended);
        Poll::Ready(())
    }
}

impl<S> Drop for Pump<S> {
    fn drop(&mut self) {
        self.shared.dead.store(true, Ordering::Release);
        let mut state = self.shared.lock();
        state.end(connection_ended());
        let (waiting, written) = (mem::take(&mut state.waiting), state.written);
        let ended = state.ended.clone().unwrap_or_else(connection_ended);
        drop(state);
        for waiting in waiting {
            waiting.fail(written, &ended);
        }
    }
}

/// The error of a failed read or write. A TLS alert of the server is permanent.
fn broken(error: &io::Error) -> RedisError {
    match tls_error(error) {
        Some(cause @ TlsError::AlertReceived(_)) => {
            RedisError::Setup { reason: format!("no TLS: {cause}") }
        }
        _ => RedisError::Lost { reason: error.to_string() },
    }
}

fn unreadable(malformed: Malformed) -> RedisError {
    match malformed.first {
        Some(TLS_ALERT) => RedisError::Setup { reason: SPEAKS_TLS.to_owned() },
        _ => lost(&malformed.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::driver::fred::Wire;
    use crate::driver::overdue::Deadline;
    use futures_util::future::join_all;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::time::Duration;
    use tokio::io::ReadBuf;

    /// A socket with a scripted other side, which accepts writes record by record, as TLS does.
    struct Fake {
        says: VecDeque<io::Result<Vec<u8>>>,
        /// How many records arrive before the other side is gone.
        records: usize,
        arrived: Arc<Mutex<Vec<u8>>>,
        /// How many reads were left at the first write.
        left: Arc<Mutex<Option<usize>>>,
    }

    impl Fake {
        fn new(says: impl IntoIterator<Item = io::Result<Vec<u8>>>, records: usize) -> Self {
            Self {
                says: says.into_iter().collect(),
                records,
                arrived: Arc::default(),
                left: Arc::default(),
            }
        }
    }

    impl AsyncRead for Fake {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            match self.says.pop_front() {
                Some(said) => Poll::Ready(said.map(|said| buf.put_slice(&said))),
                None => Poll::Pending,
            }
        }
    }

    impl AsyncWrite for Fake {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.left.lock().unwrap().get_or_insert(self.says.len());
            for record in buf.chunks(TLS_RECORD) {
                let Some(left) = self.records.checked_sub(1) else {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                };
                self.records = left;
                self.arrived.lock().unwrap().extend_from_slice(record);
            }
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn ping(nonce: usize) -> Command {
        Command::new("PING").arg(format!("{nonce:0100}"))
    }

    fn deadline() -> Deadline {
        Deadline::new(Duration::from_secs(60))
    }

    #[tokio::test]
    async fn of_what_was_sent_nobody_hears_that_it_was_not() {
        let fake = Fake::new([], 1);
        let arrived = Arc::clone(&fake.arrived);
        let wire = Wire::over(fake);
        let commands: Vec<Command> = (0..500).map(ping).collect();
        let outcomes =
            join_all(commands.iter().map(|command| wire.send(command, deadline()))).await;
        let arrived = String::from_utf8(arrived.lock().unwrap().clone()).unwrap();
        let mut lost = 0;
        for (nonce, outcome) in outcomes.into_iter().enumerate() {
            match outcome.unwrap_err() {
                RedisError::NotSent { .. } => {
                    assert!(!arrived.contains(&format!("{nonce:0100}")), "{nonce}")
                }
                RedisError::Lost { .. } => lost += 1,
                error => panic!("{error}"),
            }
        }
        assert!(lost > 0 && lost < 500, "{lost}");
    }

    #[tokio::test]
    async fn nothing_is_written_once_the_other_side_has_said_its_last_word() {
        let last: [io::Result<Vec<u8>>; 3] = [
            Ok(vec![]),
            Ok(b"-ERR max number of clients reached\r\n".to_vec()),
            Err(io::ErrorKind::ConnectionReset.into()),
        ];
        for said in last {
            let fake = Fake::new([said], usize::MAX);
            let arrived = Arc::clone(&fake.arrived);
            let wire = Wire::over(fake);
            let error = wire.send(&ping(1), deadline()).await.unwrap_err();
            assert!(!error.is_ambiguous(), "{error}");
            assert!(arrived.lock().unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn messages_without_end_do_not_keep_a_command_from_being_written() {
        let message = b">3\r\n+message\r\n+a\r\n+b\r\n".to_vec();
        let fake = Fake::new(
            (0..10_000).map(|_| Ok(message.clone())).chain([Ok(b"+PONG\r\n".to_vec())]),
            usize::MAX,
        );
        let left = Arc::clone(&fake.left);
        let wire = Wire::over(fake);
        wire.send(&ping(1), deadline()).await.unwrap();
        let left = left.lock().unwrap().unwrap();
        assert!(left > 9_000, "{left} were left to be read");
    }
}
