//! Looking at an idle connection before it is lent: the ping if one is due, and the `on_checkout`
//! hooks.
//!
//! The first connection is validated on the caller's path, and by the maintenance task if the
//! caller goes away. If it is dead the other idle ones may be too: the maintenance task validates
//! those, side by side, while the caller waits for whichever is first, one of them or a new one.

use crate::engine::call::{CallError, call};
use crate::engine::run_hooks::{Refused, run_hooks};
use crate::engine::shared::Shared;
use crate::error::Phase;
use crate::event::{CloseReason, Event};
use crate::hooks::HookPoint;
use crate::ledger::{LeaseMeta, PooledConnection, Validated, Validation};
use crate::manager::{ErrorClass, Manager};
use crate::rt::time::Time;
use std::sync::Arc;

/// The ping.
pub(crate) fn begin_ping<M: Manager>(
    shared: &Arc<Shared<M>>,
    held: PooledConnection<M::Connection>,
) -> Validation<M::Connection> {
    let (slot, limit) = (held.inner.tag.slot, shared.config.ping_timeout);
    let candidate = Candidate { shared: Arc::clone(shared), held: Some(held) };
    Validation { stage: Box::pin(ping(candidate)), phase: Phase::Ping, limit, slot }
}

/// The `on_checkout` hooks.
pub(crate) fn begin_hooks<M: Manager>(
    shared: &Arc<Shared<M>>,
    held: PooledConnection<M::Connection>,
) -> Validation<M::Connection> {
    let hooks = u32::try_from(shared.hooks.at(HookPoint::Checkout).len()).unwrap_or(u32::MAX);
    let (slot, limit) = (held.inner.tag.slot, shared.config.hook_timeout.saturating_mul(hooks));
    let candidate = Candidate { shared: Arc::clone(shared), held: Some(held) };
    Validation { stage: Box::pin(call_hooks(candidate)), phase: Phase::Hook, limit, slot }
}

async fn ping<M: Manager>(mut candidate: Candidate<M>) -> Validated<M::Connection> {
    let shared = Arc::clone(&candidate.shared);
    let Some(held) = &mut candidate.held else { return Validated::Unfit { refused: None } };
    if let Err(error) =
        call(shared.config.ping_timeout, || shared.manager.ping(&mut held.inner.conn)).await
    {
        let reason = failed_ping(&shared, held.inner.tag, error);
        candidate.refuse(reason, true);
        return Validated::Unfit { refused: None };
    }
    held.inner.tag.validated_at = shared.now();
    candidate.fit()
}

async fn call_hooks<M: Manager>(mut candidate: Candidate<M>) -> Validated<M::Connection> {
    let shared = Arc::clone(&candidate.shared);
    let Some(held) = &mut candidate.held else { return Validated::Unfit { refused: None } };
    let info = shared.describe(&held.inner.tag);
    match run_hooks(&shared, HookPoint::Checkout, &mut held.inner.conn, &info, Time::NEVER).await {
        Ok(()) => candidate.fit(),
        Err(Refused::Request(refusal)) => {
            if let Some(held) = candidate.held.take() {
                shared.give_back(held);
            }
            Validated::Refused(refusal)
        }
        Err(Refused::Connection(error)) => {
            candidate.refuse(CloseReason::RefusedByHook, false);
            Validated::Unfit { refused: Some(error) }
        }
    }
}

/// A connection under validation. If the validation is dropped half way, the connection was cut off
/// and is closed.
pub(crate) struct Candidate<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) held: Option<PooledConnection<M::Connection>>,
}

impl<M: Manager> Candidate<M> {
    fn fit(&mut self) -> Validated<M::Connection> {
        self.held.take().map_or(Validated::Unfit { refused: None }, Validated::Fit)
    }

    /// Closes it. If it was `dead`, the other idle ones may be too: the maintenance task validates
    /// them, side by side.
    fn refuse(&mut self, reason: CloseReason, dead: bool) {
        if let Some(held) = self.held.take() {
            self.shared.change(|ledger, now| {
                ledger.retire(held, reason, now);
                if dead {
                    ledger.suspect(now, now);
                }
            });
        }
    }
}

impl<M: Manager> Drop for Candidate<M> {
    fn drop(&mut self) {
        self.refuse(CloseReason::Interrupted, false);
    }
}

/// Tells of a ping that failed, and acts on what the manager makes of it.
pub(crate) fn failed_ping<M: Manager>(
    shared: &Shared<M>,
    tag: LeaseMeta,
    error: CallError<M::Error>,
) -> CloseReason {
    let fault = match &error {
        CallError::Failed(error) => shared.classify(error),
        CallError::TimedOut(_) => ErrorClass::Connection,
        CallError::Panicked(message) => {
            shared.tell_panic("ping", message.clone());
            ErrorClass::Connection
        }
    };
    let error = error.shared("ping_timeout");
    shared.tell(|| Event::PingFailed { id: tag.id, error });
    if fault == ErrorClass::Failover {
        shared.invalidate_all(false);
    }
    CloseReason::PingFailed
}
