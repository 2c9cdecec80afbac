//! The messages that arrive on a subscribed connection.

use crate::drivers::Link;
use crate::error::RedisError;
use crate::fred_link::FredLink;
use bytes::Bytes;
use fred::interfaces::EventInterface;
use fred::types::Message as DriverMessage;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// Something that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// On which channel.
    pub channel: String,
    /// What.
    pub payload: Bytes,
}

/// What a connection is subscribed to.
pub(crate) struct Subscription(Receiver<DriverMessage>);

impl Subscription {
    /// To be made before the first SUBSCRIBE, so that nothing is missed.
    pub(crate) fn new(link: &FredLink) -> Self {
        Self(link.client().message_rx())
    }

    /// The next message.
    pub(crate) async fn next(&mut self, link: &mut Link, limit: Duration) -> Result<Option<Message>, RedisError> {
        let received = tokio::select! {
            // What has arrived before the connection was lost is still told.
            biased;
            received = self.0.recv() => received,
            () = link.lost() => Err(RecvError::Closed),
            () = tokio::time::sleep(limit) => return Ok(None),
        };
        match received {
            Ok(message) => Ok(Some(Message {
                channel: message.channel.to_string(),
                payload: message.value.into_bytes().unwrap_or_default(),
            })),
            Err(RecvError::Lagged(missed)) => Err(RedisError::Lagged { missed }),
            Err(RecvError::Closed) => Err(RedisError::Lost { reason: "the server has closed it".to_owned() }),
        }
    }
}
