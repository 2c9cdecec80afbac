//! The socket to one node of a cluster. A task opens it, so that callers who do not wait for long
//! get one nevertheless.

use crate::connect::node::Node;
use crate::driver::Socket;
use crate::driver::overdue::Deadline;
use crate::error::RedisError;
use crate::subscription::until_closed;
use crate::topology::Topology;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long after its limit an attempt is given up that has not ended by itself.
const SLACK: Duration = Duration::from_secs(1);

/// A socket, or the attempt to open one, which ends when this is dropped.
pub(super) struct NodeSocket {
    outcome: Arc<OnceLock<Result<Arc<Socket>, RedisError>>>,
    task: AbortHandle,
    /// The sender is dropped when the attempt has ended.
    ended: watch::Receiver<()>,
    /// When the attempt counts as failed: its runtime may not run any more.
    due: Instant,
}

impl NodeSocket {
    /// Starts to connect to a node, within the limit.
    pub(super) fn dial(topology: &Arc<Topology>, node: &Arc<Node>, limit: Duration) -> Self {
        let outcome = Arc::new(OnceLock::new());
        let (running, ended) = watch::channel(());
        let (topology, node, found) =
            (Arc::clone(topology), Arc::clone(node), Arc::clone(&outcome));
        let task = tokio::spawn(async move {
            let _running = running;
            let _ = found.set(topology.dial_member(&node, limit).await.map(Arc::new));
        });
        let due = Deadline::new(limit.saturating_add(SLACK)).end();
        Self { outcome, task: task.abort_handle(), ended, due }
    }

    /// Returns the socket once it is open.
    pub(super) fn get(&self) -> Option<&Arc<Socket>> {
        self.outcome.get()?.as_ref().ok()
    }

    /// Returns whether the attempt has ended without a socket.
    pub(super) fn has_failed(&self) -> bool {
        match self.outcome.get() {
            Some(outcome) => outcome.is_err(),
            // Its runtime has ended, or nobody drives it.
            None => self.task.is_finished() || Instant::now() >= self.due,
        }
    }

    /// Waits for the socket.
    ///
    /// # Errors
    ///
    /// The reason why there is none.
    ///
    /// # Cancel safety
    ///
    /// The attempt goes on.
    pub(super) async fn opened(&self) -> Result<Arc<Socket>, RedisError> {
        until_closed(self.ended.clone()).await;
        let abandoned =
            || RedisError::NotSent { reason: "the attempt to connect was given up".into() };
        self.outcome.get().cloned().unwrap_or_else(|| Err(abandoned()))
    }

    /// Ends the attempt, or closes the socket.
    pub(super) fn abort(&self) {
        self.task.abort();
        self.get().iter().for_each(|socket| socket.abort());
    }
}

impl Drop for NodeSocket {
    fn drop(&mut self) {
        self.task.abort();
    }
}
