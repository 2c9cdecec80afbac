//! The only caller of `Manager::close`: runs `on_close`, closes, frees the slot.

use crate::engine::call::{CallError, call};
use crate::engine::{Held, Shared};
use crate::error::share;
use crate::rt::drop_catching_panic;
use crate::{CloseReason, HookPoint, LeaseMeta, Manager, SharedError};
use std::sync::Arc;
use std::time::Duration;

/// Closes a connection within `close_timeout`, hooks included. Its slot counts as taken until then.
pub(crate) async fn close<M: Manager>(mut closing: Closing<M>) {
    let shared = Arc::clone(&closing.shared);
    let deadline = shared.now().after(shared.config.close_timeout);
    if let Some(held) = &mut closing.held
        && shared.hooks.has(HookPoint::Close)
    {
        let info = shared.describe(&held.inner.meta);
        // A refusal changes nothing; it has been reported.
        let _ = shared.run_hooks(HookPoint::Close, &mut held.inner.conn, &info, deadline).await;
    }
    if let Some(held) = closing.held.take() {
        let left = deadline.since(shared.now());
        closing.error = shared.close_within(held.into_connection(), left).await.err();
    }
}

impl<M: Manager> Shared<M> {
    pub(crate) async fn close_within(
        &self,
        conn: M::Connection,
        limit: Duration,
    ) -> Result<(), SharedError> {
        let outcome = call(limit, || self.manager.close(conn)).await;
        outcome.map_err(|error| {
            if let CallError::Panicked(message) = &error {
                self.report_panic("close", message.clone());
            }
            error.shared("close_timeout")
        })
    }
}

/// A connection that is being closed. Its slot becomes free when this is dropped.
pub(crate) struct Closing<M: Manager> {
    shared: Arc<Shared<M>>,
    meta: LeaseMeta,
    /// `None` once it was handed to the manager.
    held: Option<Held<M>>,
    reason: CloseReason,
    error: Option<SharedError>,
}

impl<M: Manager> Closing<M> {
    pub(crate) fn new(shared: Arc<Shared<M>>, held: Held<M>, reason: CloseReason) -> Self {
        Self { shared, meta: held.inner.meta, held: Some(held), reason, error: None }
    }
}

impl<M: Manager> Drop for Closing<M> {
    fn drop(&mut self) {
        if let Err(message) = drop_catching_panic(self.held.take()) {
            self.error = Some(share(message.into()));
        }
        self.shared.closed(&self.meta, self.reason, self.error.take());
    }
}
