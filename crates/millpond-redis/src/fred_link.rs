//! A connected client of fred, and the end of its task and sockets.
//!
//! # Invariants
//!
//! 1. Whoever drops a link ends its task, and its sockets with it: the driver's client alone would keep both for ever.
//! 2. Nothing is sent on a link whose task has ended: the driver would queue it for nobody.

use crate::arguments::Arguments;
use crate::command::{ClusterNode, Command, Slot, slot_of};
use crate::connect_options::RedisConnectOptions;
use crate::deadlines;
use crate::drivers::{Manner, Use, within};
use crate::error::RedisError;
use crate::fred_settings;
use crate::known::Known;
use crate::sending::{Job, Senders};
use crate::value::Value;
use fred::clients::Client;
use fred::interfaces::{ClientLike, TransactionInterface};
use fred::types::config::Options;
use fred::types::{ClusterHash, ConnectHandle, CustomCommand, Value as DriverValue};
use futures_util::FutureExt;
use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How often an idempotent command is sent by a driver that finds lost nodes again.
const ATTEMPTS_MAX: u32 = 3;

/// A connected client.
pub(crate) struct FredLink {
    client: Client,
    task: ConnectHandle,
    /// How many handles to the client there are while nobody outside holds one.
    handles: usize,
    is_cluster: bool,
    /// Whether the driver finds lost nodes again by itself.
    heals: bool,
    limit: Duration,
    senders: Senders,
    since: Instant,
    /// When it was last made anew, in milliseconds since then.
    renewed: AtomicU64,
}

impl FredLink {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Why there is no connection; nothing is left of the attempt then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub(crate) async fn open(options: &RedisConnectOptions, purpose: Use, limit: Duration) -> Result<Self, RedisError> {
        let client = fred_settings::client(options, purpose, limit)?;
        let waiting = client.clone();
        let mut ready = pin!(waiting.wait_for_connect());
        // The first poll subscribes; only then may the task begin.
        let told = futures_util::poll!(ready.as_mut());
        let task = client.connect();
        let mut link = Self {
            client,
            task,
            handles: usize::MAX,
            is_cluster: options.is_cluster(),
            heals: purpose == Use::Shared && options.is_cluster(),
            limit: options.command_timeout,
            senders: Senders::default(),
            since: Instant::now(),
            renewed: AtomicU64::new(0),
        };
        let outcome = match told {
            std::task::Poll::Ready(outcome) => outcome,
            std::task::Poll::Pending => ready.await,
        };
        outcome.map_err(|error| RedisError::of_driver(&error, "the handshake", limit))?;
        // Less the one that waited.
        link.handles = Arc::strong_count(link.client.inner()).saturating_sub(1);
        Ok(link)
    }

    /// The driver's client, as it serves us: none of its commands has a limit.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The same for others, with the limit for each command.
    pub(crate) fn client_with_limit(&self) -> &Client {
        self.client.update_perf_config(fred_settings::performance(self.limit));
        &self.client
    }

    /// Whether somebody outside holds a handle.
    pub(crate) fn has_escaped(&self) -> bool {
        Arc::strong_count(self.client.inner()) > self.handles.saturating_add(self.senders.len())
    }

    /// Whether the connection is lost, as far as this side knows.
    pub(crate) fn is_dead(&self) -> bool {
        self.task.is_finished()
    }

    /// Ends when the connection is lost.
    pub(crate) async fn lost(&mut self) {
        if !self.task.is_finished() {
            let _ = (&mut self.task).await;
        }
    }

    /// Gives the connection up: its sockets close.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }

    /// Nobody is there: the connection is given up, or where it heals by itself, made anew. At most once within a limit,
    /// since many hear of it together.
    pub(crate) fn give_up(&self) {
        if !self.heals {
            return self.abort();
        }
        let now = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let wait = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        let last = self.renewed.load(Ordering::Acquire);
        let is_first = now.saturating_sub(last) >= wait
            && self.renewed.compare_exchange(last, now, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if is_first {
            // The first poll gives the order; nobody has to wait until it is done.
            let _ = pin!(self.client.force_reconnection()).now_or_never();
        }
    }

    /// The limit of a command that has none of its own.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Whether it leads to a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        self.is_cluster
    }

    /// The masters that it is connected to.
    pub(crate) fn nodes(&self) -> Vec<ClusterNode> {
        self.client.active_connections().into_iter().map(ClusterNode).collect()
    }

    /// How many sockets it has open.
    pub(crate) fn sockets(&self) -> usize {
        self.client.active_connections().len()
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    ///
    /// An error of the server's is one here.
    ///
    /// # Cancel safety
    ///
    /// What was sent is executed; its answer is read and thrown away.
    pub(crate) async fn call(&self, command: Command, manner: Manner) -> Result<Value, RedisError> {
        match command.slot {
            // Only in a cluster can its slot move.
            Slot::One(slot) if self.is_cluster && command.node.is_none() => {
                match self.send(command.clone(), manner).await {
                    Err(error) if error.is_moving() => Box::pin(self.redirect(slot, command, manner)).await,
                    outcome => outcome,
                }
            }
            _ => self.send(command, manner).await,
        }
    }

    /// Sends a command to where its keys were last seen.
    pub(crate) async fn send(&self, command: Command, manner: Manner) -> Result<Value, RedisError> {
        if self.is_dead() {
            return Err(RedisError::Lost { reason: "the server has closed it".to_owned() });
        }
        let limit = command.limit.unwrap_or(self.limit);
        let (limit, blocks) = match manner {
            Manner::Plain => (limit, false),
            Manner::Blocking(wait) => (limit.saturating_add(wait), true),
        };
        let hash = self.hash(&command)?;
        let Command { name, args, idempotent, node, .. } = command;
        let job = match Known::of(&name, args) {
            Ok(known) if !self.heals => Job::Known(known),
            known => {
                let options = if self.heals { healing(idempotent, node) } else { Options::default() };
                Job::With(known, Box::new((custom(name.clone(), hash, blocks), options)))
            }
        };
        match deadlines::within(limit, pin!(self.senders.send(&self.client, job))).await {
            Some(Ok(Value::Error(text))) => Err(RedisError::of_server(&text)),
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(RedisError::of_driver(&error, &name, limit)),
            None => Err(RedisError::TimedOut { command: name.into_owned(), limit }),
        }
    }

    /// Waits until a subscription has reached the server: what is answered behind it comes later.
    ///
    /// # Errors
    ///
    /// Also what the server says against the subscription.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn subscribed(&self, command: &str) -> Result<(), RedisError> {
        // In a cluster the driver subscribes where its own name lives.
        let slot = Slot::One(slot_of(self.client.id().as_bytes()));
        match self.send(Command { slot, ..Command::new("PING") }, Manner::Plain).await {
            Ok(_) => Ok(()),
            Err(RedisError::TimedOut { limit, .. }) => Err(RedisError::TimedOut { command: command.to_owned(), limit }),
            Err(error) => Err(error),
        }
    }

    /// Sends commands as one transaction. The answer is nil if a watched key has changed.
    ///
    /// # Errors
    ///
    /// The first error of the server's.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call): all of it is executed, or nothing.
    pub(crate) async fn transaction(&self, commands: Vec<Command>) -> Result<Value, RedisError> {
        if self.is_dead() {
            return Err(RedisError::Lost { reason: "the server has closed it".to_owned() });
        }
        let transaction = self.client.multi();
        let told = |error| RedisError::of_driver(&error, "EXEC", self.limit);
        for command in commands {
            let hash = self.hash(&command)?;
            transaction.custom_raw(custom(command.name, hash, false), values(command.args)).await.map_err(told)?;
        }
        match within(self.limit, transaction.exec::<DriverValue>(false)).await {
            Some(outcome) => outcome.map(Value::of_driver).map_err(told),
            None => Err(RedisError::TimedOut { command: "EXEC".to_owned(), limit: self.limit }),
        }
    }

    fn hash(&self, command: &Command) -> Result<ClusterHash, RedisError> {
        match command.slot {
            Slot::One(slot) => Ok(ClusterHash::Custom(slot)),
            Slot::Several if self.is_cluster => Err(RedisError::CrossSlot { command: command.name.to_string() }),
            _ => Ok(ClusterHash::Random),
        }
    }
}

impl Drop for FredLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A driver that reconnects by itself sends again what had no answer: for some commands only.
fn healing(idempotent: bool, node: Option<ClusterNode>) -> Options {
    Options {
        cluster_node: node.map(|node| node.0),
        fail_fast: !idempotent,
        max_attempts: Some(if idempotent { ATTEMPTS_MAX } else { 1 }),
        ..Options::default()
    }
}

fn values(args: Arguments) -> Vec<DriverValue> {
    args.into_iter().map(DriverValue::Bytes).collect()
}

pub(crate) fn custom(name: Cow<'static, str>, hash: ClusterHash, blocks: bool) -> CustomCommand {
    match name {
        Cow::Borrowed(name) => CustomCommand::new_static(name, hash, blocks),
        Cow::Owned(name) => CustomCommand::new(name, hash, blocks),
    }
}
