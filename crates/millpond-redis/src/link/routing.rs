//! The way of a command through a cluster: the node it is sent to, and the redirections it follows.

use super::node_socket::NodeSocket;
use super::redirection::{Redirection, redirection};
use super::{Link, PAUSE, REDIRECTIONS_MAX, Sockets, late, unsent};
use crate::command::slot::Slot;
use crate::command::{ClusterNode, Command};
use crate::connect::node::Node;
use crate::deadlines::within;
use crate::driver::overdue::Deadline;
use crate::driver::{Socket, error_in};
use crate::error::RedisError;
use crate::topology::NONE_ANSWERS;
use crate::value::Value;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

impl Link {
    /// Sends a command and follows redirections.
    pub(super) async fn follow(
        &self,
        command: &Command,
        deadline: Deadline,
    ) -> Result<Value, RedisError> {
        let (mut node, mut asking) = (self.place_of(command)?, false);
        for attempt in 0..REDIRECTIONS_MAX {
            if attempt > 1 {
                sleep(PAUSE.min(deadline.left())).await;
            }
            let outcome = self.ask(&node, command, asking, deadline).await;
            let mut next = outcome
                .as_ref()
                .err()
                .and_then(|error| redirection(error, command.slot, &node.host));
            if next.is_some() && command.is_script() {
                next = self.confirmed(next, &node, command, asking, deadline).await;
            }
            (node, asking) = match next {
                Some(Redirection::Moved(slot, to)) => {
                    let to = Arc::new(to);
                    self.topology.moved(slot, &to, self.connect_limit);
                    (to, false)
                }
                Some(Redirection::Ask(to)) => (Arc::new(to), true),
                Some(Redirection::Again) => (self.place_of(command)?, false),
                None => {
                    if let Err(error) = &outcome {
                        self.note_outage(error);
                    }
                    match command.name() {
                        "WATCH" if outcome.is_ok() => {
                            let before = self.watched();
                            self.watch(Some(Arc::clone(&node)));
                            // The transaction would not notice changes at the other node.
                            if before.is_some_and(|before| before != node) {
                                self.abort();
                                return Err(RedisError::moving());
                            }
                        }
                        "UNWATCH" if outcome.is_ok() => self.watch(None),
                        _ => {}
                    }
                    return outcome;
                }
            };
        }
        Err(RedisError::moving())
    }

    /// Returns the redirection of a script if the node redirects a command for its keys too. A
    /// script may return an error in the words of a redirection, after its execution.
    async fn confirmed(
        &self,
        known: Option<Redirection>,
        node: &Arc<Node>,
        script: &Command,
        asking: bool,
        deadline: Deadline,
    ) -> Option<Redirection> {
        let probe = Command::new("EXISTS").keys(script.keys_of_script());
        if probe.args.len() == 0 {
            return None;
        }
        match Box::pin(self.ask(node, &probe, asking, deadline)).await {
            Ok(_) => None,
            // The user may not ask.
            Err(error) if error.code() == Some("NOPERM") => known,
            Err(error) => redirection(&error, probe.slot, &node.host),
        }
    }

    /// Sends a command to a node; with ASKING in front if the node is importing the slot.
    pub(super) async fn ask(
        &self,
        node: &Arc<Node>,
        command: &Command,
        asking: bool,
        deadline: Deadline,
    ) -> Result<Value, RedisError> {
        let socket = self.socket(node, deadline.left()).await?;
        // Dialling may have taken some of the time.
        let socket_deadline = self.socket_deadline(Deadline { since: Instant::now(), ..deadline });
        if !asking {
            return self
                .send(&socket, Some(node), command, deadline, socket.send(command, socket_deadline))
                .await;
        }
        let both = [Command::new("ASKING"), command.clone()];
        let answers = self
            .send(&socket, Some(node), command, deadline, socket.pipeline(&both, socket_deadline))
            .await?;
        let answer = answers.into_iter().next_back().unwrap_or(Value::Nil);
        error_in(&answer).map_or(Ok(answer), Err)
    }

    /// The node that a command is sent to first.
    pub(super) fn place_of(&self, command: &Command) -> Result<Arc<Node>, RedisError> {
        if let Some(ClusterNode(server)) = &command.node {
            return Ok(Arc::new(server.clone()));
        }
        let known = match command.slot {
            Slot::Several => {
                return Err(RedisError::CrossSlot { command: command.name().to_owned() });
            }
            Slot::One(_) if command.name() == "UNWATCH" => self.watched(),
            Slot::One(slot) => self.topology.owner(slot),
            // Its commands have no key, but the node that watches keys must execute them.
            Slot::Any if command.name() == "EXEC" => self.watched(),
            Slot::Any => None,
        };
        // Any node redirects the command.
        let any = || self.topology.owners().into_iter().find(|node| !self.topology.is_down(node));
        known.or_else(any).ok_or_else(|| unsent(NONE_ANSWERS))
    }

    /// Has the slots fetched again if a node serves none: others may have taken over.
    pub(super) fn note_outage(&self, error: &RedisError) {
        if matches!(error.code(), Some("CLUSTERDOWN" | "LOADING" | "MASTERDOWN")) {
            self.topology.refresh(self.connect_limit);
        }
    }

    /// Returns the socket to a node of a cluster, and opens it if there is none. The limit is that
    /// of the caller; the attempt goes on after it.
    pub(super) async fn socket(
        &self,
        node: &Arc<Node>,
        limit: Duration,
    ) -> Result<Arc<Socket>, RedisError> {
        if self.aborted.load(Ordering::Acquire) {
            return Err(unsent("the connection was closed"));
        }
        if self.topology.is_still_down(node).await {
            return Err(unsent(&format!("{node} does not answer")));
        }
        let socket = self.node_socket(node)?;
        if let Some(socket) = socket.get() {
            return Ok(Arc::clone(socket));
        }
        let since = Instant::now();
        let error = match within(limit, socket.opened()).await {
            Some(Ok(socket)) => return Ok(socket),
            Some(Err(error)) => error,
            None => late(limit),
        };
        // A short limit says nothing about the node.
        let has_waited_long = since.elapsed() < limit || limit >= self.limit() / 2;
        if has_waited_long && error.is_outage() {
            self.topology.mark_down(node, self.connect_limit);
        } else if has_waited_long {
            // One that refuses may be another server, which has the address of the node by now.
            self.topology.refresh(self.connect_limit);
        }
        Err(error)
    }

    /// Returns the socket to a node, or the attempt to open it.
    fn node_socket(&self, node: &Arc<Node>) -> Result<Arc<NodeSocket>, RedisError> {
        let Sockets::Cluster(sockets) = &self.sockets else {
            return Err(unsent("it is no cluster"));
        };
        let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let count = self.topology.refresh_count();
        if self.refresh_count.swap(count, Ordering::AcqRel) != count {
            let (members, watched) = (self.topology.nodes(), self.watched());
            sockets.retain(|address, _| {
                address == node || members.contains(address) || watched.as_ref() == Some(address)
            });
        }
        let known = sockets.get(node);
        let is_dead = known.and_then(|known| known.get()).is_some_and(|socket| socket.is_dead());
        if is_dead && !self.redials {
            return Err(unsent("the server has closed it"));
        }
        match known {
            Some(known) if !is_dead && !known.has_failed() => Ok(Arc::clone(known)),
            _ => {
                if is_dead {
                    // Its node may have been replaced.
                    self.topology.refresh(self.connect_limit);
                }
                let dialled = Arc::new(NodeSocket::dial(&self.topology, node, self.connect_limit));
                sockets.insert(Arc::clone(node), Arc::clone(&dialled));
                Ok(dialled)
            }
        }
    }
}
