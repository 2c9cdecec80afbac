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
//!    any more, and when the topology is dropped or ended.
//! 2. No lock is held across an await.

pub(crate) mod sentinel;
mod slots;

use crate::command::Command;
use crate::connect::node::Node;
use crate::connect::options::{Deployment, RedisConnectOptions};
use crate::deadlines::within;
use crate::driver::Socket;
use crate::driver::dial::Place;
use crate::driver::overdue::Patience;
use crate::error::RedisError;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use slots::{Slots, read};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// The pause between two checks of a cluster in trouble.
const PAUSE: Duration = Duration::from_millis(50);

/// How many nodes are asked for the slots at the same time; the first answer counts.
const ASKED: usize = 3;

/// What all connections of one manager know together.
#[derive(Debug)]
pub(crate) struct Topology {
    options: Arc<RedisConnectOptions>,
    slots: RwLock<Slots>,
    down: Mutex<HashMap<Arc<Node>, Option<AbortHandle>>>,
    /// Whether the slots are being learnt again, because of a MOVED.
    asking: Arc<AtomicBool>,
    /// How often the slots were learnt.
    learnt: AtomicU64,
}

impl Topology {
    pub(crate) fn new(options: Arc<RedisConnectOptions>) -> Arc<Self> {
        let (slots, down) = (RwLock::default(), Mutex::default());
        Arc::new(Self { options, slots, down, asking: Arc::default(), learnt: AtomicU64::new(0) })
    }

    /// Ends the tasks: no connection will be opened any more.
    pub(crate) fn end(&self) {
        let tasks: Vec<AbortHandle> = self.down().values().flatten().cloned().collect();
        tasks.iter().for_each(AbortHandle::abort);
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

    /// Returns how often the slots were learnt.
    pub(crate) fn learnt(&self) -> u64 {
        self.learnt.load(Ordering::Acquire)
    }

    /// Returns whether a node is known not to answer.
    pub(crate) fn is_down(&self, node: &Node) -> bool {
        self.down().contains_key(node)
    }

    /// Connects to a node.
    pub(crate) async fn dial(&self, node: &Node, limit: Duration) -> Result<Socket, RedisError> {
        Socket::dial(Place::Network(node), &self.options.login, &self.options, limit).await
    }

    /// Marks a node as down.
    pub(crate) fn suspect(self: &Arc<Self>, node: &Arc<Node>) {
        match self.down().entry(Arc::clone(node)) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(None),
        };
        let down = Down { topology: Arc::downgrade(self), node: Arc::clone(node) };
        // Without the lock: on a runtime that has ended, `down` is dropped at once.
        let task = tokio::spawn(look_after(down));
        if let Some(known) = self.down().get_mut(node) {
            *known = Some(task.abort_handle());
        }
    }

    /// Notes the new owner of a slot. Others may have moved as well, so all are learnt again.
    pub(crate) fn moved(self: &Arc<Self>, slot: u16, to: &Arc<Node>) {
        self.slots.write().unwrap_or_else(PoisonError::into_inner).put(slot, Arc::clone(to));
        if !self.asking.swap(true, Ordering::AcqRel) {
            let (topology, asking) = (Arc::downgrade(self), Asking(Arc::clone(&self.asking)));
            drop(tokio::spawn(async move {
                let _asking = asking;
                if let Some(topology) = topology.upgrade() {
                    let _ = topology.learn().await;
                }
                sleep(PAUSE).await;
            }));
        }
    }

    /// Asks a few nodes for the slots, and the startup nodes if none of these answers: all others
    /// may have got new addresses. The first answer counts.
    ///
    /// # Errors
    ///
    /// The error of the last one if none answers.
    pub(crate) async fn learn(&self) -> Result<(), RedisError> {
        let known = self.informants();
        if !known.is_empty() && self.learn_from(known).await.is_ok() {
            return Ok(());
        }
        let Deployment::Cluster(startup) = &self.options.deployment else { return Ok(()) };
        self.learn_from(startup.iter().cloned().map(Arc::new).collect()).await
    }

    async fn learn_from(&self, nodes: Vec<Arc<Node>>) -> Result<(), RedisError> {
        let mut last = RedisError::NotSent { reason: "no node of the cluster answers".to_owned() };
        let mut asking: FuturesUnordered<_> =
            nodes.into_iter().map(|node| self.ask(node)).collect();
        while let Some(answer) = asking.next().await {
            match answer {
                Ok(slots) => {
                    *self.slots.write().unwrap_or_else(PoisonError::into_inner) = slots;
                    self.learnt.fetch_add(1, Ordering::AcqRel);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, node: Arc<Node>) -> Result<Slots, RedisError> {
        let limit = self.options.command_timeout;
        let socket = self.dial(&node, limit).await?;
        let slots = Command::new("CLUSTER").arg("SLOTS");
        let answer = within(limit, socket.send(&slots, Patience::new(limit))).await;
        read(
            answer.ok_or(RedisError::TimedOut { command: "CLUSTER SLOTS".to_owned(), limit })??,
            &node,
        )
    }

    /// Returns a few random nodes that are not down; at first none is known.
    fn informants(&self) -> Vec<Arc<Node>> {
        let mut nodes = self.nodes();
        nodes.retain(|node| !self.is_down(node));
        fastrand::shuffle(&mut nodes);
        nodes.truncate(ASKED);
        nodes
    }

    fn down(&self) -> MutexGuard<'_, HashMap<Arc<Node>, Option<AbortHandle>>> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the slots as being learnt until it is dropped, as happens when the runtime of its task
/// ends.
struct Asking(Arc<AtomicBool>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Marks a node as down until it is dropped.
struct Down {
    topology: Weak<Topology>,
    node: Arc<Node>,
}

impl Drop for Down {
    fn drop(&mut self) {
        if let Some(topology) = self.topology.upgrade() {
            topology.down().remove(&self.node);
        }
    }
}

/// Waits until a node answers or owns no slot any more.
async fn look_after(down: Down) {
    let Down { topology, node } = &down;
    let knocking = async {
        while let Some(topology) = topology.upgrade() {
            if topology.dial(node, topology.options.command_timeout).await.is_ok() {
                return;
            }
            drop(topology);
            sleep(PAUSE).await;
        }
    };
    let learning = async {
        while let Some(topology) = topology.upgrade() {
            if topology.learn().await.is_ok() && !topology.owners().contains(node) {
                return;
            }
            drop(topology);
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = knocking => {}
        () = learning => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    #[test]
    fn a_runtime_that_ends_leaves_nothing_marked_as_under_way() {
        let node = Arc::new(Node { host: "192.0.2.1".to_owned(), port: 1 });
        let options = RedisConnectOptions::cluster([("192.0.2.1", 1)]);
        let topology = Topology::new(Arc::new(options));
        let ended = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = ended.handle().clone();
        ended.block_on(async {
            topology.suspect(&node);
            topology.moved(7, &node);
            tokio::task::yield_now().await;
        });
        assert!(topology.is_down(&node) && topology.asking.load(Ordering::Acquire));
        drop(ended);
        assert!(!topology.is_down(&node) && !topology.asking.load(Ordering::Acquire));
        let _entered = handle.enter();
        topology.suspect(&node);
        topology.moved(7, &node);
        assert!(
            !topology.is_down(&node) && !topology.asking.load(Ordering::Acquire),
            "what can never run is not waited for"
        );
    }
}
