//! Subscriptions, in a cluster on one node or on every master.

use super::{Link, Sockets, yielding};
use crate::command::Command;
use crate::connect::node::Node;
use crate::deadlines::within;
use crate::driver::Socket;
use crate::driver::overdue::Deadline;
use crate::error::RedisError;
use crate::subscription::{Message, Subscription};
use bytes::Bytes;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How often a connection that is subscribed to every master has them fetched again.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The masters that a connection is subscribed to.
pub(crate) struct Masters {
    nodes: Vec<Arc<Node>>,
    /// When they are fetched again.
    check_at: Instant,
}

impl Link {
    /// Sends a SUBSCRIBE or PSUBSCRIBE. In a cluster every node receives what is published, but
    /// only the owner of a key sends its keyspace notifications, so these are subscribed to at
    /// every master.
    ///
    /// # Errors
    ///
    /// [`RedisError::Refused`] if the driver cannot subscribe.
    ///
    /// # Cancel safety
    ///
    /// The connection may be subscribed or not.
    pub(crate) async fn subscribe(
        &self,
        command: &Command,
        into: &mut Subscription,
        masters: &mut Option<Masters>,
    ) -> Result<(), RedisError> {
        let outcome = match &self.sockets {
            Sockets::One(socket) => self.listen(socket, command, into).await,
            Sockets::Cluster(_) => self.subscribe_in_cluster(command, into, masters).await,
        };
        yielding(outcome).await
    }

    async fn subscribe_in_cluster(
        &self,
        command: &Command,
        into: &mut Subscription,
        masters: &mut Option<Masters>,
    ) -> Result<(), RedisError> {
        let is_of_keys = |channel: &Bytes| channel.starts_with(b"__key");
        let some = |of_keys| {
            let channels = command.args.iter().filter(|channel| is_of_keys(channel) == of_keys);
            Command::new(command.name.clone()).args(channels)
        };
        let owners = self.topology.owners();
        let (plain, of_keys) = (some(false), some(true));
        if of_keys.args.len() > 0 {
            let (nodes, check_at) = (owners.clone(), Instant::now());
            masters.get_or_insert(Masters { nodes, check_at });
        }
        for (part, nodes) in [(plain, vec![self.place_of(command)?]), (of_keys, owners)] {
            for node in if part.args.len() > 0 { nodes } else { Vec::new() } {
                let socket = self.socket(&node, self.limit()).await?;
                self.listen(&socket, &part, into).await?;
            }
        }
        Ok(())
    }

    async fn listen(
        &self,
        socket: &Socket,
        command: &Command,
        into: &mut Subscription,
    ) -> Result<(), RedisError> {
        let limit = self.limit();
        let timed_out = || RedisError::TimedOut { command: command.name().to_owned(), limit };
        into.add(socket.message_receiver());
        within(limit, socket.subscribe(command, Deadline::new(limit)))
            .await
            .ok_or_else(timed_out)?
    }

    /// Waits for the next message. A socket that is lost is an error, and so is a new master of
    /// which no keyspace notification would arrive.
    ///
    /// # Cancel safety
    ///
    /// No message is lost.
    pub(crate) async fn message(
        &self,
        from: &mut Subscription,
        masters: &mut Option<Masters>,
        limit: Duration,
    ) -> Result<Option<Message>, RedisError> {
        tokio::select! {
            // Messages that have arrived come first.
            biased;
            received = from.next(limit) => received,
            error = self.new_master(masters) => Err(error),
        }
    }

    /// Completes when there is a master that is not subscribed to.
    async fn new_master(&self, masters: &mut Option<Masters>) -> RedisError {
        let Some(Masters { nodes, check_at }) = masters else { return pending().await };
        loop {
            let new = self.topology.owners().into_iter().find(|owner| !nodes.contains(owner));
            if let Some(new) = new {
                let reason = format!("{new} is a new master, which it is not subscribed to");
                return RedisError::Lost { reason };
            }
            sleep_until(*check_at).await;
            self.topology.refresh(self.connect_limit);
            *check_at = Instant::now() + CHECK_INTERVAL;
        }
    }
}
