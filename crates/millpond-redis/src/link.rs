//! A connection: one socket, in a cluster one to each node that it is used for.
//!
//! Commands find their way through a cluster here, whichever driver serves the sockets: trouble
//! with one node concerns only callers that ask for its keys.
//!
//! # Invariants
//!
//! 1. Dropping a link closes its sockets.
//! 2. A command is sent again only after an error reply that says that it was not executed. Stored
//!    texts and errors inside answers redirect nothing.
//! 3. An exclusive connection never dials a socket again: a WATCH would be lost unnoticed.

mod node_socket;
mod redirection;
mod routing;
mod subscribing;
mod transaction;

pub(crate) use subscribing::Masters;

use crate::command::{ClusterNode, Command};
use crate::connect::node::Node;
use crate::connect::options::Deployment;
use crate::deadlines::{answer_within, within};
use crate::driver::Socket;
use crate::driver::dial::Destination;
use crate::driver::overdue::{Deadline, SILENT};
use crate::error::RedisError;
use crate::staggered::staggered;
use crate::topology::sentinel::{self, Sentinels, is_master};
use crate::topology::{NODE_DELAY, NONE_ANSWERS, Topology};
use crate::value::Value;
use bytes::Bytes;
use futures_util::future::join_all;
use node_socket::NodeSocket;
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::coop::consume_budget;

/// How often a command is redirected at most.
const REDIRECTIONS_MAX: u32 = 16;

/// The pause before the second and every further redirection: the slot is being moved.
const PAUSE: Duration = Duration::from_millis(20);

/// How a connection is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// One borrower at a time. The connection never dials a socket again.
    Exclusive,
    /// Many borrowers at once. In a cluster the connection dials lost nodes again.
    Shared,
}

/// Whether the server may wait before it answers a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocking {
    /// It answers at once.
    No,
    /// It may block for this long.
    For(Duration),
}

/// A connection.
pub(crate) struct Link {
    topology: Arc<Topology>,
    sockets: Sockets,
    /// How long opening a socket may take.
    connect_limit: Duration,
    /// Whether lost nodes are dialled again.
    redials: bool,
    aborted: AtomicBool,
    /// Where keys are watched.
    watched: Mutex<Option<Arc<Node>>>,
    /// The count of refreshes at which sockets to former nodes were last closed.
    refresh_count: AtomicU64,
}

/// The sockets of a connection.
enum Sockets {
    One(Arc<Socket>),
    /// Opened when they are needed.
    Cluster(Mutex<HashMap<Arc<Node>, Arc<NodeSocket>>>),
}

impl Link {
    /// Connects, in a cluster to one of its nodes.
    ///
    /// # Errors
    ///
    /// The reason why there is no connection.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt.
    pub(crate) async fn open(
        topology: &Arc<Topology>,
        purpose: Use,
        limit: Duration,
    ) -> Result<Self, RedisError> {
        let options = topology.options();
        let sockets = match &options.deployment {
            Deployment::Single(node) => Sockets::One(Arc::new(topology.dial(node, limit).await?)),
            Deployment::Unix(path) => Sockets::One(Arc::new(
                Socket::dial(Destination::Unix(path), &options.login, options, limit).await?,
            )),
            Deployment::Sentinel { nodes, service, login, tls } => {
                let sentinels = Sentinels::new(options, nodes, service, login, tls);
                Sockets::One(Arc::new(sentinel::master(topology, &sentinels, limit).await?))
            }
            Deployment::Cluster(_) => Sockets::Cluster(Mutex::default()),
        };
        let redials = purpose == Use::Shared && options.is_cluster();
        let (aborted, watched) = (AtomicBool::new(false), Mutex::default());
        let refresh_count = AtomicU64::new(0);
        let link = Self {
            topology: Arc::clone(topology),
            sockets,
            connect_limit: limit,
            redials,
            aborted,
            watched,
            refresh_count,
        };
        if link.is_cluster() {
            let entering = link.enter(limit);
            within(limit, entering).await.ok_or_else(|| late(limit))??;
        }
        Ok(link)
    }

    /// Fetches the slots, unless they are known, and connects to a node that answers.
    async fn enter(&self, limit: Duration) -> Result<(), RedisError> {
        if self.topology.owners().is_empty() {
            self.topology.fetch_slots(limit).await?;
        }
        let owners = self.topology.owners();
        let dialling: Vec<_> = owners.iter().map(|node| self.socket(node, limit)).collect();
        let errors = match staggered(dialling, NODE_DELAY).await {
            Ok(_) => return Ok(()),
            Err(errors) => errors,
        };
        let none = || unsent(NONE_ANSWERS);
        Err(errors.into_iter().next_back().unwrap_or_else(none))
    }

    /// Returns whether the connection is known to be lost.
    pub(crate) fn is_dead(&self) -> bool {
        self.aborted.load(Ordering::Acquire) || (!self.redials && self.has(Socket::is_dead))
    }

    /// Returns whether the buffers of a socket have grown too large to keep.
    pub(crate) fn is_large(&self) -> bool {
        self.has(Socket::is_large)
    }

    /// Completes when all sockets are closed.
    pub(crate) async fn lost(&mut self) {
        join_all(self.open_sockets(Socket::closed)).await;
    }

    /// Closes its sockets.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Ordering::Release);
        match &self.sockets {
            Sockets::One(socket) => socket.abort(),
            Sockets::Cluster(sockets) => {
                let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
                sockets.values().for_each(|socket| socket.abort());
            }
        }
    }

    /// The limit of commands without one of their own.
    pub(crate) fn limit(&self) -> Duration {
        self.topology.options().command_timeout
    }

    /// Returns whether this is a connection to a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.sockets, Sockets::Cluster(_))
    }

    /// Returns the masters of the cluster, or the one server.
    pub(crate) fn nodes(&self) -> Vec<ClusterNode> {
        match &self.sockets {
            // Its address does not matter: there is no other.
            Sockets::One(_) => vec![ClusterNode(Node { host: String::new(), port: 0 })],
            Sockets::Cluster(_) => {
                self.topology.owners().iter().map(|node| ClusterNode(Node::clone(node))).collect()
            }
        }
    }

    /// Returns the masters of the cluster as one of its nodes knows them now.
    ///
    /// # Errors
    ///
    /// No node answers.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub(crate) async fn nodes_now(&self) -> Result<Vec<ClusterNode>, RedisError> {
        if self.is_cluster() {
            self.topology.fetch_slots(self.connect_limit).await?;
        }
        Ok(self.nodes())
    }

    /// The most sockets that it has.
    pub(crate) fn sockets(&self) -> usize {
        self.nodes().len()
    }

    /// Sends a command to the node of its keys, and waits for the answer.
    ///
    /// # Errors
    ///
    /// An error reply is returned as an error; `MOVED` if a slot keeps moving.
    ///
    /// # Cancel safety
    ///
    /// A command that was sent is executed; its answer is read and discarded.
    pub(crate) async fn call(
        &self,
        command: &Command,
        blocking: Blocking,
    ) -> Result<Value, RedisError> {
        let limit = command.limit.unwrap_or(self.limit());
        let limit =
            if let Blocking::For(wait) = blocking { limit.saturating_add(wait) } else { limit };
        let deadline = Deadline::new(limit);
        let outcome = match &self.sockets {
            Sockets::One(socket) => {
                let sending = socket.send(command, self.socket_deadline(deadline));
                self.send(socket, None, command, deadline, sending).await
            }
            // Boxed, since its future has several KiB.
            Sockets::Cluster(_) => Box::pin(self.follow(command, deadline)).await,
        };
        yielding(outcome).await
    }

    /// Returns whether an outcome reports a failover. A script may return such an error by itself:
    /// then `role` asks its server.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    pub(crate) async fn is_failover<T>(
        &self,
        outcome: &Result<T, RedisError>,
        role: impl FnOnce() -> Option<Command>,
    ) -> bool {
        let Err(error) = outcome else { return false };
        if !error.indicates_failover() {
            return false;
        }
        match role() {
            // Boxed, since it is rare and its future is large.
            Some(role) => match Box::pin(self.call(&role, Blocking::No)).await {
                Ok(role) => !is_master(&role),
                Err(_) => true,
            },
            None => true,
        }
    }

    /// Waits for an answer until the limit. After that the socket is closed if no other answer has
    /// arrived on it meanwhile, or if its next answer is for a caller that has given up: an answer
    /// may be missing, and then all later ones go to the wrong callers.
    async fn send<T>(
        &self,
        socket: &Socket,
        node: Option<&Arc<Node>>,
        command: &Command,
        deadline: Deadline,
        sending: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let (before, left) = (socket.answers(), deadline.left());
        if let Some(outcome) = answer_within(left, pin!(sending)).await {
            // The socket has noticed its silence first.
            if let (Err(RedisError::Lost { reason }), Some(node)) = (&outcome, node)
                && reason == SILENT
            {
                self.topology.mark_down(node, self.connect_limit);
            }
            return outcome;
        }
        let is_silent = socket.answers() == before;
        if left >= self.limit() / 2 && (is_silent || socket.is_stuck()) {
            socket.abort();
            if let Some(node) = node.filter(|_| is_silent) {
                self.topology.mark_down(node, self.connect_limit);
            }
        }
        Err(timed_out(command, deadline))
    }

    /// How long the answer to a command may be missing on a socket: a caller with a short limit
    /// does not close it for the others.
    fn socket_deadline(&self, deadline: Deadline) -> Deadline {
        Deadline { limit: deadline.limit.max(self.limit()), ..deadline }
    }

    /// Returns whether this is true of an open socket. It is asked at every loan, so it allocates
    /// nothing.
    fn has(&self, what: impl Fn(&Socket) -> bool) -> bool {
        match &self.sockets {
            Sockets::One(socket) => what(socket),
            Sockets::Cluster(sockets) => {
                let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
                sockets.values().filter_map(|socket| socket.get()).any(|socket| what(socket))
            }
        }
    }

    /// Calls a function for each open socket.
    fn open_sockets<T>(&self, what: impl Fn(&Socket) -> T) -> Vec<T> {
        match &self.sockets {
            Sockets::One(socket) => vec![what(socket)],
            Sockets::Cluster(sockets) => {
                let sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
                sockets
                    .values()
                    .filter_map(|socket| socket.get())
                    .map(|socket| what(socket))
                    .collect()
            }
        }
    }

    fn watched(&self) -> Option<Arc<Node>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn watch(&self, node: Option<Arc<Node>>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = node;
    }
}

/// Lets other tasks run after an error that took no time: its caller may try again at once.
async fn yielding<T>(outcome: Result<T, RedisError>) -> Result<T, RedisError> {
    if let Err(RedisError::NotSent { .. }) = outcome {
        consume_budget().await;
    }
    outcome
}

fn timed_out(command: &Command, deadline: Deadline) -> RedisError {
    RedisError::TimedOut { command: command.name().to_owned(), limit: deadline.limit }
}

/// Checks that this is the answer to a PING with this nonce.
///
/// # Errors
///
/// The reason why the connection must be closed.
pub(crate) fn verify_pong(
    outcome: Result<Value, RedisError>,
    nonce: &str,
) -> Result<(), RedisError> {
    match outcome {
        Err(error) if error.is_a_sign_of_life() => Ok(()),
        Err(error) => Err(error),
        Ok(Value::Bytes(text)) if text == nonce.as_bytes() => Ok(()),
        // The form of the answer on a subscribed connection, over RESP2.
        Ok(Value::List(parts))
            if parts.last() == Some(&Value::Bytes(Bytes::copy_from_slice(nonce.as_bytes()))) =>
        {
            Ok(())
        }
        Ok(_) => Err(RedisError::Lost { reason: "it is out of sync with the server".to_owned() }),
    }
}

fn unsent(reason: &str) -> RedisError {
    RedisError::NotSent { reason: reason.to_owned() }
}

fn late(limit: Duration) -> RedisError {
    unsent(&format!("no answer to the handshake within {:.3} s", limit.as_secs_f64()))
}
