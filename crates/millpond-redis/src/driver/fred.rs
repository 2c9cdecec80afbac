//! A multiplexed connection to one server, without a driver of others below it.
//!
//! Redis answers commands in their order, and an answer does not name its command. So commands are
//! counted against answers, byte by byte: an answer without a command ends the connection for all
//! its callers, and so do bytes that are no frame.
//!
//! # Invariants
//!
//! 1. Commands stand in the buffer in the order of their waiting callers: one lock guards both.
//! 2. [`RedisError::NotSent`] means that no byte of the command has reached the socket.
//! 3. Without a subscription every frame is an answer, unless it is a RESP3 push. With one, over
//!    RESP2, a list counts as a message only after all commands before the SUBSCRIBE have been
//!    answered: from then on the server answers only PING.

pub(crate) mod client;
mod frame;
mod pump;
mod settings;
mod state;

use crate::command::Command;
use crate::command::arguments::Arguments;
use crate::driver::overdue::Deadline;
use crate::error::RedisError;
use crate::subscription::MessageReceiver;
use crate::value::Value;
use bytes::{BufMut, BytesMut};
use pump::Pump;
use state::{Recipient, Shared, Waiting, connection_ended, unsent};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::task::JoinHandle;

/// The most messages that wait for a slow subscriber; beyond that the oldest is dropped.
const MESSAGES_MAX: usize = 1024;

/// A connection to one server. Dropping it closes the socket.
pub(crate) struct Wire {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    /// The sender is dropped when the socket is closed.
    closed: watch::Receiver<()>,
}

impl Wire {
    /// Starts the task that serves a socket.
    pub(crate) fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let (open, closed) = watch::channel(());
        let task = tokio::spawn(Pump::new(stream, Arc::clone(&shared), open));
        Self { shared, task, closed }
    }

    /// Sends a command and waits for its answer. An error reply is returned as a value. If no
    /// answer arrives within `deadline`, the connection is closed for all its callers, even if none
    /// of them waits any more.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is read and discarded.
    pub(crate) async fn send(
        &self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Value, RedisError> {
        let (caller, answer) = oneshot::channel();
        self.put(std::slice::from_ref(command), Recipient::One(caller), deadline)?;
        answer.await.unwrap_or_else(|_| Err(connection_ended()))
    }

    /// Sends commands as one write. Error replies are returned as values.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    ///
    /// As [`send`](Self::send).
    pub(crate) async fn pipeline(
        &self,
        commands: &[Command],
        deadline: Deadline,
    ) -> Result<Vec<Value>, RedisError> {
        let (caller, answers) = oneshot::channel();
        let (left, received) = (commands.len(), Vec::with_capacity(commands.len()));
        self.put(commands, Recipient::Many { left, received, caller }, deadline)?;
        answers.await.unwrap_or_else(|_| Err(connection_ended()))
    }

    /// Sends a SUBSCRIBE or PSUBSCRIBE and waits until the server has confirmed every channel.
    /// `are_marked` says that messages arrive as pushes, over RESP3.
    ///
    /// # Errors
    ///
    /// The server's refusal, or the connection is lost.
    ///
    /// # Cancel safety
    ///
    /// The connection may be subscribed or not.
    pub(crate) async fn subscribe(
        &self,
        command: &Command,
        deadline: Deadline,
        are_marked: bool,
    ) -> Result<(), RedisError> {
        if !are_marked {
            let mut state = self.shared.lock();
            let here = state.put;
            state.listens.get_or_insert(here);
        }
        let (caller, confirmed) = oneshot::channel();
        let recipient = Recipient::Listener { left: command.args.len(), caller };
        self.put(std::slice::from_ref(command), recipient, deadline)?;
        confirmed.await.unwrap_or_else(|_| Err(connection_ended()))
    }

    /// Notes that the handshake has ended well.
    pub(crate) fn set_in_use(&self) {
        self.shared.lock().is_in_use = true;
    }

    /// Returns a receiver of the messages that are published from now on.
    pub(crate) fn message_receiver(&self) -> MessageReceiver {
        let mut state = self.shared.lock();
        let messages =
            state.messages.get_or_insert_with(|| broadcast::channel(MESSAGES_MAX).0).subscribe();
        MessageReceiver {
            socket: Arc::as_ptr(&self.shared).addr(),
            messages,
            closed: self.closed(),
        }
    }

    /// Returns whether the caller of the oldest command has given up waiting.
    pub(crate) fn is_stuck(&self) -> bool {
        self.shared.lock().waiting.front().is_some_and(|waiting| match &waiting.recipient {
            Recipient::One(caller) => caller.is_closed(),
            Recipient::Many { caller, .. } => caller.is_closed(),
            Recipient::Listener { caller, .. } => caller.is_closed(),
        })
    }

    /// Returns whether the socket is closed or closing.
    pub(crate) fn is_dead(&self) -> bool {
        self.shared.dead.load(Ordering::Acquire) || self.task.is_finished()
    }

    /// Closes it. Callers that wait for an answer get an error.
    pub(crate) fn abort(&self) {
        self.shared.lock().end(connection_ended());
        self.shared.dead.store(true, Ordering::Release);
        self.task.abort();
    }

    /// The sender is dropped when the socket is closed.
    pub(crate) fn closed(&self) -> watch::Receiver<()> {
        self.closed.clone()
    }

    fn put(
        &self,
        commands: &[Command],
        recipient: Recipient,
        deadline: Deadline,
    ) -> Result<(), RedisError> {
        let mut state = self.shared.lock();
        if let Some(ended) = &state.ended {
            return Err(unsent(ended));
        }
        let begin = state.put;
        let before = state.out.len();
        for command in commands {
            encode(&mut state.out, command.name(), &command.args);
        }
        let length = state.out.len().saturating_sub(before);
        state.put = state.put.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        state.waiting.push_back(Waiting { begin, due: deadline.end(), recipient });
        drop(state);
        self.shared.task_waker.wake();
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Appends a command in the form that Redis reads: an array of bulk strings.
fn encode(out: &mut BytesMut, name: &str, args: &Arguments) {
    head(out, b'*', args.len().saturating_add(1));
    for part in std::iter::once(name.as_bytes()).chain(args.iter().map(|arg| &arg[..])) {
        out.reserve(part.len().saturating_add(32));
        head(out, b'$', part.len());
        out.put_slice(part);
        out.put_slice(b"\r\n");
    }
}

fn head(out: &mut BytesMut, kind: u8, number: usize) {
    let (mut digits, mut left, mut used) = ([0_u8; 20], number, 0);
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.saturating_add(u8::try_from(left % 10).unwrap_or(0));
        (left, used) = (left / 10, used + 1);
        if left == 0 {
            break;
        }
    }
    out.put_u8(kind);
    out.put_slice(digits.get(digits.len() - used..).unwrap_or_default());
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_command_is_written_as_redis_reads_it() {
        let mut out = BytesMut::new();
        for command in
            [Command::new("SET").key("k").arg("0123456789"), Command::new("GET").key(Bytes::new())]
        {
            encode(&mut out, command.name(), &command.args);
        }
        let wanted =
            "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&out), wanted);
    }
}
