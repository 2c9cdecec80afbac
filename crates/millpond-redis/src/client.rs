//! A connection that many borrowers use at once.

use crate::command::{ClusterNode, Command, Slot};
use crate::drivers::{Link, Manner};
use crate::epoch::Epoch;
use crate::error::RedisError;
use crate::session::{Effect, effect};
use crate::value::{FromValue, Value};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// A multiplexed connection: commands of many borrowers travel on it together.
///
/// It runs whatever leaves the session as it was; WATCH, transactions, SELECT, blocking commands and subscriptions need a
/// connection of one's own, from a [`RedisPool`](crate::RedisPool).
pub struct RedisClient {
    link: Link,
    epoch: Epoch,
    /// How many answers have come, by the part of the cluster that the keys live in. If none comes from there while a
    /// command waits for its whole limit, nobody is there.
    answers: [AtomicU64; PARTS],
}

/// Into how many parts the 16,384 slots of a cluster are divided, of 256 neighbours each.
const PARTS: usize = 64;

/// Where nothing is counted.
static NEVER: AtomicU64 = AtomicU64::new(0);

impl RedisClient {
    pub(crate) fn new(link: Link, epoch: Epoch) -> Self {
        Self { link, epoch, answers: [const { AtomicU64::new(0) }; PARTS] }
    }

    /// Runs a command.
    ///
    /// # Errors
    ///
    /// A [`RedisError`]: [`is_ambiguous`](RedisError::is_ambiguous) says whether it may have been executed.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer reaches nobody.
    pub async fn run<T: FromValue>(&self, command: Command) -> Result<T, RedisError> {
        let answers = self.admit(&command)?;
        let before = answers.load(Ordering::Relaxed);
        let outcome = self.link.call(command, Manner::Plain).await;
        self.judge(&outcome, answers, before);
        T::from_value(outcome?)
    }

    /// Whether the command leaves the session as it was, and where its answer is counted.
    fn admit(&self, command: &Command) -> Result<&AtomicU64, RedisError> {
        let refused = |reason| Err(RedisError::Refused { command: command.name().to_owned(), reason });
        match effect(command) {
            Effect::None => {}
            Effect::Refused(reason) => return refused(reason),
            Effect::Blocks(_) => return refused("it would hold up all others: use a connection of a RedisPool"),
            _ => return refused("it changes the session of all others: use a connection of a RedisPool"),
        }
        let part = match command.slot {
            Slot::One(slot) if self.link.is_cluster() => usize::from(slot >> 8),
            _ => 0,
        };
        Ok(self.answers.get(part).unwrap_or(&NEVER))
    }

    /// Notes what an answer says about the connection.
    fn judge(&self, outcome: &Result<Value, RedisError>, answers: &AtomicU64, before: u64) {
        match outcome {
            Err(RedisError::TimedOut { .. }) if answers.load(Ordering::Relaxed) == before => self.link.give_up(),
            Err(error) if error.tells_of_a_failover() => self.epoch.end(),
            Err(RedisError::Lost { .. } | RedisError::TimedOut { .. }) => {}
            _ => {
                answers.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The masters that it is connected to, one of a single server: for [`run_on`](Self::run_on).
    pub fn nodes(&self) -> Vec<ClusterNode> {
        self.link.nodes()
    }

    /// Runs a command without a key on one node, as `SCAN` and `DBSIZE` have to be in a cluster.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// As [`run`](Self::run).
    pub async fn run_on<T: FromValue>(&self, node: &ClusterNode, command: Command) -> Result<T, RedisError> {
        self.run(Command { node: Some(node.clone()), ..command }).await
    }

    /// Whether it leads to a cluster.
    pub fn is_cluster(&self) -> bool {
        self.link.is_cluster()
    }

    /// How many sockets it has, or may come to have: 1, in a cluster one for each master.
    pub fn sockets(&self) -> usize {
        self.link.sockets()
    }

    pub(crate) async fn ping(&self) -> Result<(), RedisError> {
        self.run(Command::new("PING")).await
    }

    /// Whether it may be lent as far as this side knows.
    pub(crate) fn is_fit(&self) -> bool {
        !self.link.is_dead() && !self.epoch.is_over()
    }

    /// Gives it up: its sockets close.
    pub(crate) fn abort(&self) {
        self.link.abort();
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient").field("is_fit", &self.is_fit()).finish_non_exhaustive()
    }
}
