//! The only caller of `Manager::close`: the hooks' last word, the farewell, and the place that
//! becomes free after it.

use crate::engine::call::{CallError, call};
use crate::engine::run_hooks::run_hooks;
use crate::engine::shared::Shared;
use crate::event::{CloseReason, Event, SharedError, share};
use crate::hooks::HookPoint;
use crate::ledger::{LeaseMeta, PooledConnection};
use crate::manager::Manager;
use crate::rt::panics::drop_calmly;
use std::sync::Arc;
use std::time::Duration;

/// Closes a connection within `close_timeout`, hooks included. Its place counts as taken until
/// then.
pub(crate) async fn close<M: Manager>(mut closing: Closing<M>) {
    let shared = Arc::clone(&closing.shared);
    let began = shared.now();
    let deadline = began.after(shared.config.close_timeout);
    if let Some(held) = &mut closing.held
        && shared.hooks.has(HookPoint::Close)
    {
        let info = shared.describe(&held.inner.tag);
        // A refusal changes nothing; it has been reported.
        let _ = run_hooks(&shared, HookPoint::Close, &mut held.inner.conn, &info, deadline).await;
    }
    let left = deadline.since(shared.now());
    closing.finish(left).await;
}

/// Closes a connection that never became one of the pool's.
pub(crate) async fn farewell<M: Manager>(
    shared: &Shared<M>,
    conn: M::Connection,
) -> Result<(), SharedError> {
    bounded_close(shared, conn, shared.config.close_timeout).await
}

async fn bounded_close<M: Manager>(
    shared: &Shared<M>,
    conn: M::Connection,
    limit: Duration,
) -> Result<(), SharedError> {
    match call(limit, || shared.manager.close(conn)).await {
        Ok(()) => Ok(()),
        Err(error) => {
            if let CallError::Panicked(message) = &error {
                shared.tell_panic("close", message.clone());
            }
            Err(error.shared("close_timeout"))
        }
    }
}

/// A connection on its way out. If the job is dropped half way, the connection is dropped and the
/// place becomes free.
pub(crate) struct Closing<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) held: Option<PooledConnection<M::Connection>>,
    pub(crate) reason: CloseReason,
}

impl<M: Manager> Closing<M> {
    async fn finish(mut self, left: Duration) {
        let Some(held) = self.held.take() else { return };
        let (tag, conn) = (held.inner.tag, held.into_connection());
        let mut gone =
            Gone { shared: Arc::clone(&self.shared), tag, reason: self.reason, error: None };
        gone.error = bounded_close(&self.shared, conn, left).await.err();
    }
}

impl<M: Manager> Drop for Closing<M> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            let (tag, conn) = (held.inner.tag, held.into_connection());
            let error = drop_calmly(conn).err().map(|message| share(message.into()));
            drop(Gone { shared: Arc::clone(&self.shared), tag, reason: self.reason, error });
        }
    }
}

/// Frees the place and tells of it when the close has ended, in whatever way.
struct Gone<M: Manager> {
    shared: Arc<Shared<M>>,
    tag: LeaseMeta,
    reason: CloseReason,
    error: Option<SharedError>,
}

impl<M: Manager> Drop for Gone<M> {
    fn drop(&mut self) {
        let shared = &self.shared;
        let seq = shared.change(|ledger, now| {
            ledger.gone(self.tag.slot, now);
            ledger.stamp_if(shared.observed())
        });
        if let Some(seq) = seq {
            shared.tell_at(
                seq,
                &Event::Closed { id: self.tag.id, reason: self.reason, error: self.error.take() },
            );
        }
    }
}
