//! What all connections of one manager know of a cluster: the owners of slots, and nodes that are
//! down.
//!
//! A node that does not answer is *down*: nothing is sent to it, and callers that ask for its keys
//! get an error at once. One task for each such node asks the other nodes who owns its slots now,
//! and dials the node until it answers.
//!
//! # Invariants
//!
//! 1. A node is down only while its task runs. The task ends when the node answers or owns no slot
//!    any more, and when the topology is ended.
//! 2. No lock is held across an await.
//! 3. A node whose ID is known is dialled only as that node: another server may have its address by
//!    now.

pub(crate) mod sentinel;
mod slots;

use crate::command::Command;
use crate::connect::node::Node;
use crate::connect::options::{Deployment, RedisConnectOptions};
use crate::deadlines::within;
use crate::driver::Socket;
use crate::driver::dial::Destination;
use crate::driver::overdue::Deadline;
use crate::error::RedisError;
use crate::staggered::staggered;
use crate::subscription::until_closed;
use slots::{Slots, id_in, read};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// The pause between two checks of a cluster in trouble.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the task of a node that is down may not have run before callers let it run: on a
/// runtime that only runs inside `block_on` it runs only while somebody waits.
const STALLED_AFTER: Duration = Duration::from_millis(200);

/// How long such a task may not have run before it is replaced.
const REPLACED_AFTER: Duration = Duration::from_secs(1);

/// How many of the known nodes are asked for the slots.
const ASKED: usize = 3;

/// How long after one node of a cluster the next one is tried as well.
pub(crate) const NODE_DELAY: Duration = Duration::from_millis(250);

/// What all connections of one manager know together.
#[derive(Debug)]
pub(crate) struct Topology {
    options: Arc<RedisConnectOptions>,
    slots: RwLock<Slots>,
    down: Mutex<HashMap<Arc<Node>, DownNode>>,
    refreshing: Mutex<Option<Refresh>>,
    /// How often the slots were fetched.
    refresh_count: AtomicU64,
}

/// A node that does not answer, as long as its task runs.
#[derive(Debug)]
struct DownNode {
    task: AbortHandle,
    /// When the task last ran.
    ran: Instant,
    /// The sender is dropped when the task ends.
    ended: watch::Receiver<()>,
}

impl DownNode {
    /// Returns whether its task runs, or has run not long ago.
    fn is_watched(&self, stalled_after: Duration) -> bool {
        !self.task.is_finished() && self.ran.elapsed() < stalled_after
    }
}

/// The task that fetches the slots again.
#[derive(Debug)]
struct Refresh {
    task: AbortHandle,
    /// When it counts as failed: its runtime may not run any more.
    due: Instant,
}

impl Refresh {
    fn is_running(&self) -> bool {
        !self.task.is_finished() && Instant::now() < self.due
    }
}

impl Topology {
    pub(crate) fn new(options: Arc<RedisConnectOptions>) -> Arc<Self> {
        let (slots, down, refreshing) = (RwLock::default(), Mutex::default(), Mutex::default());
        Arc::new(Self { options, slots, down, refreshing, refresh_count: AtomicU64::new(0) })
    }

    /// Ends the tasks: no connection will be opened any more.
    pub(crate) fn end(&self) {
        self.down().values().for_each(|down| down.task.abort());
        self.refreshing().iter().for_each(|refresh| refresh.task.abort());
    }

    pub(crate) fn options(&self) -> &RedisConnectOptions {
        &self.options
    }

    /// Returns the owner of a slot, if it is known.
    pub(crate) fn owner(&self, slot: u16) -> Option<Arc<Node>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).owner(slot)
    }

    /// Returns all owners, sorted.
    pub(crate) fn owners(&self) -> Vec<Arc<Node>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).owners()
    }

    /// Returns all nodes, replicas included.
    pub(crate) fn nodes(&self) -> Vec<Arc<Node>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner).nodes()
    }

    /// Returns how often the slots were fetched.
    pub(crate) fn refresh_count(&self) -> u64 {
        self.refresh_count.load(Ordering::Acquire)
    }

    /// Returns whether a node is known not to answer.
    pub(crate) fn is_down(&self, node: &Node) -> bool {
        self.down().get(node).is_some_and(|down| !down.task.is_finished())
    }

    /// Returns whether a node is known not to answer. If its task has not run for a while it is
    /// given a moment first.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub(crate) async fn is_still_down(&self, node: &Node) -> bool {
        let ended = match self.down().get(node).filter(|down| !down.task.is_finished()) {
            None => return false,
            Some(down) if down.ran.elapsed() < STALLED_AFTER => return true,
            Some(down) => down.ended.clone(),
        };
        let _ = within(PAUSE, until_closed(ended)).await;
        // One that still has not run is on a runtime that nobody drives, and finds out nothing.
        self.down().get(node).is_some_and(|down| down.is_watched(STALLED_AFTER))
    }

    /// Connects to whatever server is at an address.
    pub(crate) async fn dial(&self, node: &Node, limit: Duration) -> Result<Socket, RedisError> {
        Socket::dial(Destination::Network(node), &self.options.login, &self.options, limit).await
    }

    /// Connects to a node of the cluster.
    ///
    /// # Errors
    ///
    /// [`RedisError::NotSent`] if another server has its address, or a server without a cluster.
    /// One that does not say who it is passes, and so does a node whose ID is not known.
    ///
    /// # Cancel safety
    ///
    /// The socket is closed.
    pub(crate) async fn dial_member(
        &self,
        node: &Node,
        limit: Duration,
    ) -> Result<Socket, RedisError> {
        let deadline = Deadline::new(limit);
        let socket = self.dial(node, limit).await?;
        let known = self.slots.read().unwrap_or_else(PoisonError::into_inner).id(node);
        let Some(known) = known else { return Ok(socket) };
        let question = Command::new("CLUSTER").arg("MYID");
        let is_another = match within(deadline.left(), socket.send(&question, deadline)).await {
            None => Err(RedisError::NotSent { reason: format!("{node} does not say who it is") }),
            Some(Ok(id)) => match id_in(&id).filter(|id| *id != known) {
                None => Ok(false),
                Some(id) => {
                    let speaking = self.speaks_for(&socket, node, [&known, &id], deadline);
                    Ok(within(deadline.left(), speaking).await != Some(true))
                }
            },
            Some(Err(RedisError::Server { message, .. })) => Ok(message.contains(NO_CLUSTER)),
            Some(Err(error)) => Err(RedisError::NotSent { reason: format!("{node}: {error}") }),
        }?;
        let reason = || format!("another server has the address of the node {node} by now");
        if is_another { Err(RedisError::NotSent { reason: reason() }) } else { Ok(socket) }
    }

    /// Returns whether a server that is not this node names this address as the node's: it stands
    /// in front of a cluster. A member that names itself at another address does not: it has got
    /// this address, and does not know that yet.
    async fn speaks_for(
        &self,
        socket: &Socket,
        node: &Node,
        [known, answered]: [&str; 2],
        deadline: Deadline,
    ) -> bool {
        let answer = socket.send(&Command::new("CLUSTER").arg("SLOTS"), deadline).await;
        answer.and_then(|answer| read(answer, node)).is_ok_and(|slots| {
            slots.id(node).as_deref() == Some(known) && !slots.names_elsewhere(answered, node)
        })
    }

    /// Marks a node as down. It is dialled within this limit.
    pub(crate) fn mark_down(self: &Arc<Self>, node: &Arc<Node>, limit: Duration) {
        let mut down = self.down();
        if let Some(down) = down.get(node) {
            if down.is_watched(REPLACED_AFTER) {
                return;
            }
            // It may be on a runtime that nobody drives.
            down.task.abort();
        }
        down.retain(|_, down| !down.task.is_finished());
        let (running, ended) = watch::channel(());
        let (topology, watched) = (Arc::downgrade(self), Arc::clone(node));
        let task = tokio::spawn(async move {
            let _running = running;
            watch_node(topology, watched, limit).await;
        });
        let task = task.abort_handle();
        down.insert(Arc::clone(node), DownNode { task, ran: Instant::now(), ended });
    }

    /// Notes the new owner of a slot. Others may have moved as well, so all are fetched again.
    pub(crate) fn moved(self: &Arc<Self>, slot: u16, to: &Arc<Node>, limit: Duration) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).put(slot, Arc::clone(to));
        self.refresh(limit);
    }

    /// Has the slots fetched again in the background, unless they are being fetched.
    pub(crate) fn refresh(self: &Arc<Self>, limit: Duration) {
        let mut refreshing = self.refreshing();
        if let Some(refresh) = &*refreshing {
            if refresh.is_running() {
                return;
            }
            refresh.task.abort();
        }
        let topology = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            if let Some(topology) = topology.upgrade() {
                let _ = topology.fetch_slots(limit).await;
            }
            sleep(PAUSE).await;
        });
        let grace = self.delay_of_the_last() + REPLACED_AFTER;
        let due = Deadline::new(limit.saturating_add(grace)).end();
        *refreshing = Some(Refresh { task: task.abort_handle(), due });
    }

    /// Asks a few nodes for the slots, and the startup nodes if none of these answers: all others
    /// may have got new addresses. The first answer counts.
    ///
    /// # Errors
    ///
    /// The error of the last one if none answers.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any point.
    pub(crate) async fn fetch_slots(&self, limit: Duration) -> Result<(), RedisError> {
        let Deployment::Cluster(startup) = &self.options.deployment else { return Ok(()) };
        let known = self.nodes_to_ask().into_iter().map(|node| (node, true));
        let startup = startup.iter().map(|node| (Arc::new(node.clone()), false));
        let asking: Vec<_> =
            known.chain(startup).map(|(node, is_known)| self.ask(node, is_known, limit)).collect();
        let slots = staggered(asking, NODE_DELAY).await.map_err(|errors| {
            let none = || RedisError::NotSent { reason: NONE_ANSWERS.to_owned() };
            errors.into_iter().next_back().unwrap_or_else(none)
        })?;
        *self.slots.write().unwrap_or_else(PoisonError::into_inner) = slots;
        self.refresh_count.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Asks a node for the slots. A startup node may be any node of the cluster.
    async fn ask(
        &self,
        node: Arc<Node>,
        is_known: bool,
        limit: Duration,
    ) -> Result<Slots, RedisError> {
        let asking = async {
            let socket = match is_known {
                true => self.dial_member(&node, limit).await?,
                false => self.dial(&node, limit).await?,
            };
            let slots = Command::new("CLUSTER").arg("SLOTS");
            read(socket.send(&slots, Deadline::new(limit)).await?, &node)
        };
        let command = || "CLUSTER SLOTS".to_owned();
        within(limit, asking)
            .await
            .ok_or_else(|| RedisError::TimedOut { command: command(), limit })?
    }

    /// Returns how long after the first node the last one is asked for the slots, at most.
    fn delay_of_the_last(&self) -> Duration {
        let Deployment::Cluster(startup) = &self.options.deployment else { return NODE_DELAY };
        NODE_DELAY * u32::try_from(ASKED + startup.len()).unwrap_or(u32::MAX)
    }

    /// Returns a few random nodes that are not down; at first none is known.
    fn nodes_to_ask(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.nodes();
        nodes.retain(|node| !self.is_down(node));
        fastrand::shuffle(&mut nodes);
        nodes.truncate(ASKED);
        nodes
    }

    fn down(&self) -> MutexGuard<'_, HashMap<Arc<Node>, DownNode>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refreshing(&self) -> MutexGuard<'_, Option<Refresh>> {
        self.refreshing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an error reads if no node could be asked.
pub(crate) const NONE_ANSWERS: &str = "no node of the cluster answers";

/// What a server without a cluster answers to CLUSTER.
const NO_CLUSTER: &str = "cluster support disabled";

/// Waits until a node answers or owns no slot any more.
async fn watch_node(topology: Weak<Topology>, node: Arc<Node>, limit: Duration) {
    let dialling = async {
        while let Some(topology) = topology.upgrade() {
            if topology.dial_member(&node, limit).await.is_ok() {
                // It may have lost its slots meanwhile.
                topology.refresh(limit);
                return;
            }
            drop(topology);
            sleep(PAUSE).await;
        }
    };
    let fetching = async {
        while let Some(topology) = topology.upgrade() {
            if topology.fetch_slots(limit).await.is_ok() && !topology.owners().contains(&node) {
                return;
            }
            drop(topology);
            sleep(PAUSE).await;
        }
    };
    let running = async {
        while let Some(topology) = topology.upgrade() {
            if let Some(down) = topology.down().get_mut(&node) {
                down.ran = Instant::now();
            }
            drop(topology);
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = dialling => {}
        () = fetching => {}
        () = running => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    const LIMIT: Duration = Duration::from_secs(1);

    #[test]
    fn a_runtime_that_ends_leaves_nothing_marked_as_under_way() {
        let node = Arc::new(Node { host: "192.0.2.1".to_owned(), port: 1 });
        let options = RedisConnectOptions::cluster([("192.0.2.1", 1)]);
        let topology = Topology::new(Arc::new(options));
        let ended = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = ended.handle().clone();
        ended.block_on(async {
            topology.mark_down(&node, LIMIT);
            topology.moved(7, &node, LIMIT);
            tokio::task::yield_now().await;
        });
        let is_refreshing = || topology.refreshing().as_ref().is_some_and(Refresh::is_running);
        assert!(topology.is_down(&node) && is_refreshing());
        drop(ended);
        assert!(!topology.is_down(&node) && !is_refreshing());
        let _entered = handle.enter();
        topology.mark_down(&node, LIMIT);
        topology.moved(7, &node, LIMIT);
        assert!(
            !topology.is_down(&node) && !is_refreshing(),
            "what can never run is not waited for"
        );
    }
}
