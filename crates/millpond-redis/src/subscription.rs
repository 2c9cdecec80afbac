//! The messages that arrive on a subscribed connection.

use crate::error::RedisError;
use bytes::Bytes;
use futures_util::future::select_all;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;

/// Something that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// On which channel. What is not UTF-8 in its name stands here as `U+FFFD`.
    pub channel: String,
    /// The name of the channel, byte by byte: that of a keyspace notification ends with the key, which may be any bytes.
    pub channel_bytes: Bytes,
    /// What.
    pub payload: Bytes,
}

/// What is heard on one socket, and how its end is heard of.
pub(crate) struct Ear {
    /// Of which it is.
    pub(crate) socket: usize,
    pub(crate) messages: Receiver<Message>,
    pub(crate) closed: watch::Receiver<()>,
}

/// What a connection is subscribed to: on one socket, of a cluster perhaps on several.
#[derive(Default)]
pub(crate) struct Subscription(Vec<Ear>);

impl Subscription {
    /// Listens to a socket, if it is not listened to yet. To be called before the first SUBSCRIBE, so that nothing is missed.
    pub(crate) fn add(&mut self, ear: Option<Ear>) {
        if let Some(ear) = ear
            && !self.0.iter().any(|known| known.socket == ear.socket)
        {
            self.0.push(ear);
        }
    }

    /// The next message. Whatever socket is lost ends it.
    pub(crate) async fn next(&mut self, limit: Duration) -> Result<Option<Message>, RedisError> {
        tokio::select! {
            // What has arrived before the connection was lost is still told.
            biased;
            received = Self::any(&mut self.0) => received.map(Some),
            () = tokio::time::sleep(limit) => Ok(None),
        }
    }

    async fn any(ears: &mut [Ear]) -> Result<Message, RedisError> {
        if ears.is_empty() {
            return Err(lost());
        }
        let hearing = ears.iter_mut().map(|ear| {
            Box::pin(async move {
                let received = tokio::select! {
                    biased;
                    received = ear.messages.recv() => received,
                    () = until_closed(ear.closed.clone()) => match ear.messages.try_recv() {
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
        select_all(hearing).await.0
    }
}

/// Ends when the socket with this other half is closed.
pub(crate) async fn until_closed(mut closed: watch::Receiver<()>) {
    while closed.changed().await.is_ok() {}
}

fn lost() -> RedisError {
    RedisError::Lost { reason: "the server has closed it".to_owned() }
}
