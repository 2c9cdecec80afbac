//! The messages that arrive on a subscribed connection.

use crate::error::RedisError;
use bytes::Bytes;
use futures_util::future::select_all;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

/// A published message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The channel. Parts of its name that are not UTF-8 are replaced by `U+FFFD`.
    pub channel: String,
    /// The exact name of the channel: that of a keyspace notification ends with the key.
    pub channel_bytes: Bytes,
    /// The payload.
    pub payload: Bytes,
}

/// The messages of one socket, and a signal of its end.
pub(crate) struct MessageReceiver {
    /// Identifies the socket.
    pub(crate) socket: usize,
    pub(crate) messages: Receiver<Message>,
    pub(crate) closed: watch::Receiver<()>,
}

/// The subscriptions of a connection: on one socket, in a cluster perhaps on several.
#[derive(Default)]
pub(crate) struct Subscription(Vec<MessageReceiver>);

impl Subscription {
    /// Adds a socket, unless it was added before. Must be called before the first SUBSCRIBE, so
    /// that no message is missed.
    pub(crate) fn add(&mut self, receiver: Option<MessageReceiver>) {
        if let Some(receiver) = receiver
            && !self.0.iter().any(|known| known.socket == receiver.socket)
        {
            self.0.push(receiver);
        }
    }

    /// Waits for the next message. Any socket that is lost is an error.
    pub(crate) async fn next(&mut self, limit: Duration) -> Result<Option<Message>, RedisError> {
        tokio::select! {
            // Messages that arrived before the connection was lost come first.
            biased;
            received = Self::any(&mut self.0) => received.map(Some),
            () = tokio::time::sleep(limit) => Ok(None),
        }
    }

    async fn any(receivers: &mut [MessageReceiver]) -> Result<Message, RedisError> {
        if receivers.is_empty() {
            return Err(lost());
        }
        let receiving = receivers.iter_mut().map(|receiver| {
            Box::pin(async move {
                let MessageReceiver { messages, closed, .. } = receiver;
                let received = tokio::select! {
                    biased;
                    received = messages.recv() => received,
                    () = until_closed(closed.clone()) => match messages.try_recv() {
                        Ok(message) => Ok(message),
                        Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
                        Err(_) => Err(RecvError::Closed),
                    },
                };
                received.map_err(|error| match error {
                    RecvError::Lagged(missed) => RedisError::Lagged { missed },
                    RecvError::Closed => lost(),
                })
            })
        });
        select_all(receiving).await.0
    }
}

/// Completes when the socket is closed.
pub(crate) async fn until_closed(mut closed: watch::Receiver<()>) {
    while closed.changed().await.is_ok() {}
}

fn lost() -> RedisError {
    RedisError::Lost { reason: "the server has closed it".to_owned() }
}
