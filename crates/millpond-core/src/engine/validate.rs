//! Looking at an idle connection before it is lent: the ping if one is due, and the `on_checkout`
//! hooks.
//!
//! The first connection is validated on the caller's path, and by the maintenance task if the
//! caller goes away. If it is dead the other idle ones may be too: the maintenance task validates
//! those, side by side, while the caller waits for whichever is first, one of them or a new one.

use crate::engine::Shared;
use crate::engine::call::{CallError, CallGuard, call};
use crate::engine::run_hooks::{Refused, run_hooks};
use crate::ledger::{PooledConnection, Validated, Validation};
use crate::rt::Time;
use crate::{CloseReason, ConnectionId, ErrorClass, Event, HookPoint, Manager, Phase, SharedError};
use std::sync::Arc;

pub(crate) fn begin_ping<M: Manager>(
    shared: &Arc<Shared<M>>,
    held: PooledConnection<M::Connection>,
) -> Validation<M::Connection> {
    let (slot, limit) = (held.inner.meta.slot, shared.config.ping_timeout);
    let stage = Box::pin(ping(CallGuard::new(Arc::clone(shared), held)));
    Validation { stage, phase: Phase::Ping, limit, slot }
}

pub(crate) fn begin_hooks<M: Manager>(
    shared: &Arc<Shared<M>>,
    held: PooledConnection<M::Connection>,
) -> Validation<M::Connection> {
    let hooks = u32::try_from(shared.hooks.at(HookPoint::Checkout).len()).unwrap_or(u32::MAX);
    let (slot, limit) = (held.inner.meta.slot, shared.config.hook_timeout.saturating_mul(hooks));
    let stage = Box::pin(call_hooks(CallGuard::new(Arc::clone(shared), held)));
    Validation { stage, phase: Phase::Hook, limit, slot }
}

async fn ping<M: Manager>(mut guard: CallGuard<M>) -> Validated<M::Connection> {
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return Validated::Unfit { refused: None } };
    let limit = shared.config.ping_timeout;
    let outcome = call(limit, || shared.manager.ping(&mut held.inner.conn)).await;
    let reason = match outcome {
        Ok(()) => {
            held.inner.meta.validated_at = shared.now();
            None
        }
        Err(error) => Some(failed_ping(&shared, held.inner.meta.id, error)),
    };
    let Some(held) = guard.held.take() else { return Validated::Unfit { refused: None } };
    let Some(reason) = reason else { return Validated::Fit(held) };
    shared.change(|ledger, now| {
        ledger.retire(held, reason, now);
        ledger.mark_suspect(now, now);
    });
    Validated::Unfit { refused: None }
}

async fn call_hooks<M: Manager>(mut guard: CallGuard<M>) -> Validated<M::Connection> {
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return Validated::Unfit { refused: None } };
    let info = shared.describe(&held.inner.meta);
    let outcome =
        run_hooks(&shared, HookPoint::Checkout, &mut held.inner.conn, &info, Time::NEVER).await;
    let Some(held) = guard.held.take() else { return Validated::Unfit { refused: None } };
    match outcome {
        Ok(()) => Validated::Fit(held),
        Err(Refused::Request(refusal)) => {
            shared.return_unlent(held);
            Validated::Refused(refusal)
        }
        Err(Refused::Connection(error)) => {
            shared.retire(held, CloseReason::RefusedByHook);
            Validated::Unfit { refused: Some(error) }
        }
    }
}

pub(crate) fn failed_ping<M: Manager>(
    shared: &Shared<M>,
    id: ConnectionId,
    error: CallError<M::Error>,
) -> CloseReason {
    report_failure(shared, "ping", error, |error| Event::PingFailed { id, error });
    CloseReason::PingFailed
}

/// Reports a ping or a reset that failed, and invalidates all connections if the manager takes the
/// error for a failover.
pub(crate) fn report_failure<M: Manager>(
    shared: &Shared<M>,
    method: &'static str,
    error: CallError<M::Error>,
    event: impl FnOnce(SharedError) -> Event,
) {
    let class = shared.class_of(method, &error);
    let error = error.shared("ping_timeout");
    shared.report(|| event(error));
    if class == ErrorClass::Failover {
        shared.invalidate_all(false);
    }
}
