//! A connection that many borrowers use at once.

use crate::command::effects::{Effect, effect};
use crate::command::{ClusterNode, Command};
use crate::error::RedisError;
use crate::failover_count::FailoverCount;
use crate::link::{Blocking, Link, verify_pong};
use crate::value::{FromValue, Value};
use std::fmt;

/// A multiplexed connection, used by many borrowers at once.
///
/// It runs commands that leave the session as it was. WATCH, transactions, SELECT, blocking
/// commands and subscriptions need an exclusive connection, from a [`RedisPool`](crate::RedisPool).
pub struct RedisClient {
    link: Link,
    failovers: FailoverCount,
}

impl RedisClient {
    pub(crate) fn new(link: Link, failovers: FailoverCount) -> Self {
        Self { link, failovers }
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// A [`RedisError`]: [`is_ambiguous`](RedisError::is_ambiguous) says whether it may have been
    /// executed.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is discarded.
    pub async fn run<T: FromValue>(&self, command: Command) -> Result<T, RedisError> {
        T::from_value(self.send(&command).await?)
    }

    pub(crate) async fn send(&self, command: &Command) -> Result<Value, RedisError> {
        admit(command)?;
        let outcome = self.link.call(command, Blocking::No).await;
        if self.link.is_failover(&outcome, || command.role()).await {
            self.failovers.record();
        }
        outcome
    }

    /// Returns the masters of the cluster, or the one server: for [`run_on`](Self::run_on). These
    /// are the masters that a node last reported, which a failover or a resharding may have changed
    /// since: see [`nodes_now`](Self::nodes_now).
    pub fn nodes(&self) -> Vec<ClusterNode> {
        self.link.nodes()
    }

    /// Asks the cluster for its masters, for commands that must reach all of them, as a `SCAN` of
    /// all keys must: a node that has lost its slots does not redirect such commands. Of one server
    /// nothing is asked.
    ///
    /// # Errors
    ///
    /// A [`RedisError`] if no node of the cluster answers.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub async fn nodes_now(&self) -> Result<Vec<ClusterNode>, RedisError> {
        self.link.nodes_now().await
    }

    /// Runs a command on one node, as commands without a key (`SCAN`, `DBSIZE`) need in a cluster.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub async fn run_on<T: FromValue>(
        &self,
        node: &ClusterNode,
        command: Command,
    ) -> Result<T, RedisError> {
        self.run(Command { node: Some(node.clone()), ..command }).await
    }

    /// Returns whether this is a connection to a cluster.
    pub fn is_cluster(&self) -> bool {
        self.link.is_cluster()
    }

    /// The most sockets that it has: 1, in a cluster one for each master.
    pub fn sockets(&self) -> usize {
        self.link.sockets()
    }

    pub(crate) async fn ping(&self) -> Result<(), RedisError> {
        let nonce = fastrand::u64(..).to_string();
        let outcome = self.send(&Command::new("PING").arg(&nonce)).await;
        let is_answered = outcome.is_ok();
        verify_pong(outcome, &nonce).inspect_err(|_| {
            // If this answer was for another command, so are the others'.
            if is_answered {
                self.abort();
            }
        })
    }

    /// Returns whether it may be lent, as far as is known here.
    pub(crate) fn is_fit(&self) -> bool {
        !self.link.is_dead() && !self.failovers.is_outdated() && !self.link.is_large()
    }

    /// Closes its sockets.
    pub(crate) fn abort(&self) {
        self.link.abort();
    }
}

/// Refuses commands that change or block the session.
fn admit(command: &Command) -> Result<(), RedisError> {
    let reason = match effect(command) {
        Effect::None => return Ok(()),
        Effect::Refused(reason) => reason,
        Effect::Blocks(_) => "it would hold up all others: use a connection of a RedisPool",
        _ => "it changes the session of all others: use a connection of a RedisPool",
    };
    Err(RedisError::Refused { command: command.name().to_owned(), reason })
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient").field("is_fit", &self.is_fit()).finish_non_exhaustive()
    }
}
