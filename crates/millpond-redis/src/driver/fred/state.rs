//! The commands of a connection that are under way, and the callers that wait for their answers.
//!
//! Callers add commands; the task of the connection takes them.

use crate::error::RedisError;
use crate::subscription::Message;
use crate::value::{FromValue, Value};
use bytes::{Bytes, BytesMut};
use futures_util::task::AtomicWaker;
use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

/// State that callers and the task share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    /// Wakes the task.
    pub(super) task_waker: AtomicWaker,
    pub(super) dead: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    /// Commands that are not written yet.
    pub(super) out: BytesMut,
    /// How many bytes callers have added in all.
    pub(super) put: u64,
    /// How many bytes the socket has accepted in all.
    pub(super) written: u64,
    pub(super) waiting: VecDeque<Waiting>,
    /// Whether the handshake has ended well.
    pub(super) is_in_use: bool,
    /// Why the connection has ended, if it has.
    pub(super) ended: Option<RedisError>,
    pub(super) messages: Option<broadcast::Sender<Message>>,
    /// Where the first SUBSCRIBE begins, over RESP2.
    pub(super) listens: Option<u64>,
    /// Whether the server has confirmed a subscription.
    pub(super) is_subscribed: bool,
}

/// A caller that waits for the answer to a command, which begins at this byte of all.
pub(super) struct Waiting {
    pub(super) begin: u64,
    /// When the connection is closed if the answer is still missing.
    pub(super) due: Instant,
    pub(super) recipient: Recipient,
}

pub(super) enum Recipient {
    One(oneshot::Sender<Result<Value, RedisError>>),
    /// A pipeline, with the answers received so far.
    Many {
        left: usize,
        received: Vec<Value>,
        caller: oneshot::Sender<Result<Vec<Value>, RedisError>>,
    },
    /// A SUBSCRIBE, with the number of confirmations still missing.
    Listener {
        left: usize,
        caller: oneshot::Sender<Result<(), RedisError>>,
    },
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends the connection. The first reason counts. What is wrong with the settings during the
    /// handshake is only the loss of a connection that was in use.
    pub(super) fn end(&mut self, reason: RedisError) {
        let reason = match reason {
            RedisError::Setup { reason } if self.is_in_use => RedisError::Lost { reason },
            reason => reason,
        };
        self.ended.get_or_insert(reason);
    }
}

impl Waiting {
    /// Reports that there will be no answer.
    pub(super) fn fail(self, written: u64, ended: &RedisError) {
        let error = if self.begin < written { if_sent(ended) } else { unsent(ended) };
        // The caller may have been dropped.
        match self.recipient {
            Recipient::One(caller) => drop(caller.send(Err(error))),
            Recipient::Many { caller, .. } => drop(caller.send(Err(error))),
            Recipient::Listener { caller, .. } => drop(caller.send(Err(error))),
        }
    }
}

/// A caller whose answer is complete.
pub(super) enum Done {
    One(oneshot::Sender<Result<Value, RedisError>>, Value),
    Many(oneshot::Sender<Result<Vec<Value>, RedisError>>, Vec<Value>),
    Listener(oneshot::Sender<Result<(), RedisError>>, Result<(), RedisError>),
}

impl Done {
    /// Delivers the answer. The caller may have been dropped.
    pub(super) fn deliver(self) {
        match self {
            Self::One(caller, answer) => drop(caller.send(Ok(answer))),
            Self::Many(caller, answers) => drop(caller.send(Ok(answers))),
            Self::Listener(caller, outcome) => drop(caller.send(outcome)),
        }
    }
}

impl State {
    /// Assigns an answer to the oldest command. Without one it is an error.
    pub(super) fn answer(&mut self, answer: Value) -> Result<Option<Done>, RedisError> {
        let written = self.written;
        let Some(Waiting { recipient, .. }) =
            self.waiting.front_mut().filter(|waiting| waiting.begin < written)
        else {
            return Err(match answer {
                // For example from a server that has reached its limit of clients.
                Value::Error(text) => RedisError::of_server(&text),
                _ => lost("it is out of sync with the server: an answer without a command arrived"),
            });
        };
        match recipient {
            Recipient::Many { left, received, .. } if *left > 1 => {
                *left = left.saturating_sub(1);
                received.push(answer);
                return Ok(None);
            }
            Recipient::Listener { .. } if !matches!(answer, Value::Error(_)) => {
                return Err(lost(
                    "it is out of sync with the server: an answer to a subscription arrived",
                ));
            }
            _ => {}
        }
        Ok(self.waiting.pop_front().map(|waiting| match waiting.recipient {
            Recipient::One(caller) => Done::One(caller, answer),
            Recipient::Many { mut received, caller, .. } => {
                received.push(answer);
                Done::Many(caller, received)
            }
            Recipient::Listener { caller, .. } => {
                let refused = if let Value::Error(text) = &answer { text } else { "" };
                if !self.is_subscribed {
                    // No message can arrive, so a list is an answer again.
                    self.listens = None;
                }
                Done::Listener(caller, Err(RedisError::of_server(refused)))
            }
        }))
    }

    /// Returns whether a list is a message, over RESP2: only if the connection has subscribed, and
    /// every command before that has been answered.
    pub(super) fn is_message(&self, value: &Value) -> bool {
        let Some(listens) = self.listens else { return false };
        let Value::List(parts) = value else { return false };
        let is_answered = self.waiting.front().is_none_or(|waiting| waiting.begin >= listens);
        let is =
            |kind: &[u8]| matches!(parts.first(), Some(Value::Bytes(text)) if text[..] == *kind);
        let kinds: [&[u8]; 6] =
            [b"message", b"pmessage", b"subscribe", b"psubscribe", b"unsubscribe", b"punsubscribe"];
        is_answered && kinds.into_iter().any(is)
    }

    /// Handles a message or a confirmation.
    pub(super) fn receive(&mut self, push: Value) -> Option<Done> {
        let Value::List(parts) = push else { return None };
        let mut parts = parts.into_iter();
        let kind = Bytes::from_value(parts.next()?).ok()?;
        match &kind[..] {
            b"subscribe" | b"psubscribe" => return self.confirmed(),
            b"message" | b"smessage" => {}
            // Skip the pattern.
            b"pmessage" => drop(parts.next()),
            _ => return None,
        }
        let channel = Bytes::from_value(parts.next()?).ok()?;
        let payload = Bytes::from_value(parts.next()?).unwrap_or_default();
        if let Some(messages) = &self.messages {
            // There may be no receiver.
            let name = String::from_utf8_lossy(&channel).into_owned();
            let _ = messages.send(Message { channel: name, channel_bytes: channel, payload });
        }
        None
    }

    /// Counts the confirmation of one channel.
    pub(super) fn confirmed(&mut self) -> Option<Done> {
        self.is_subscribed = true;
        match self.waiting.front_mut() {
            Some(Waiting { recipient: Recipient::Listener { left, .. }, .. }) if *left > 1 => {
                *left = left.saturating_sub(1);
                return None;
            }
            Some(Waiting { recipient: Recipient::Listener { .. }, .. }) => {}
            _ => return None,
        }
        match self.waiting.pop_front()?.recipient {
            Recipient::Listener { caller, .. } => Some(Done::Listener(caller, Ok(()))),
            _ => None,
        }
    }
}

pub(super) fn connection_ended() -> RedisError {
    RedisError::Lost { reason: "it was given up".to_owned() }
}

/// The error of commands that were sent, at least in part.
pub(super) fn if_sent(ended: &RedisError) -> RedisError {
    match ended {
        RedisError::Server { .. } => RedisError::Lost { reason: ended.to_string() },
        ended => ended.clone(),
    }
}

/// The error of commands of which nothing was sent.
pub(super) fn unsent(ended: &RedisError) -> RedisError {
    match ended {
        RedisError::Lost { reason } => RedisError::NotSent { reason: reason.clone() },
        ended => ended.clone(),
    }
}

pub(super) fn lost(reason: &str) -> RedisError {
    RedisError::Lost { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_sent_before_a_tls_alert_nobody_knows_whether_it_was_executed() {
        let alert = || RedisError::Setup { reason: "no TLS: an alert".to_owned() };
        for (is_in_use, written, is_ambiguous) in
            [(false, 9, false), (true, 9, true), (true, 0, false)]
        {
            let mut state = State { is_in_use, ..State::default() };
            state.end(alert());
            let (caller, mut answer) = oneshot::channel();
            let waiting =
                Waiting { begin: 0, due: Instant::now(), recipient: Recipient::One(caller) };
            waiting.fail(written, state.ended.as_ref().unwrap());
            let error = answer.try_recv().unwrap().unwrap_err();
            assert_eq!(error.is_ambiguous(), is_ambiguous, "{error}");
            assert_eq!(matches!(error, RedisError::Setup { .. }), !is_in_use, "{error}");
        }
    }

    #[test]
    fn without_pushes_a_list_is_a_message_only_when_all_that_was_asked_before_is_answered() {
        let text = |text: &'static str| Value::Bytes(Bytes::from_static(text.as_bytes()));
        let message = Value::List(vec![text("message"), text("a"), text("b")]);
        let mut state = State::default();
        assert!(!state.is_message(&message), "it has not subscribed");
        state.listens = Some(10);
        for (begin, is_message) in [(0, false), (10, true), (20, true)] {
            let (caller, _) = oneshot::channel();
            state.waiting =
                [Waiting { begin, due: Instant::now(), recipient: Recipient::One(caller) }].into();
            assert_eq!(state.is_message(&message), is_message, "{begin}");
        }
        state.waiting.clear();
        assert!(state.is_message(&message));
        assert!(!state.is_message(&Value::List(vec![text("pong"), text("")])));
        assert!(!state.is_message(&text("message")));
    }
}
