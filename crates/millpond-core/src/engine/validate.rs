//! Checking a connection before it is lent or kept: pings, resets, and the hooks of a checkout and
//! of a checkin.
//!
//! The connection that a caller is about to get is validated on the caller's path, and by the
//! maintenance task if the caller goes away. If it is dead the other idle ones may be too: the
//! maintenance task validates those, side by side, while the caller waits for whichever is first,
//! one of them or a new one.

use crate::engine::call::{CallError, CallGuard, Refused, call};
use crate::engine::{Held, Shared};
use crate::ledger::{Validated, Validation};
use crate::rt::{self, Time, catch_panic};
use crate::{CloseReason, ConnectionId, ErrorClass, Event, HookPoint, Manager, Phase, SharedError};
use std::sync::Arc;

impl<M: Manager> Shared<M> {
    /// Begins the ping or the `on_checkout` hooks of a connection that is about to be lent.
    pub(crate) fn begin_validation(
        self: &Arc<Self>,
        held: Held<M>,
        phase: Phase,
    ) -> Validation<M::Connection> {
        let slot = held.inner.meta.slot;
        let guard = CallGuard::new(Arc::clone(self), held);
        if phase == Phase::Ping {
            let limit = self.config.ping_timeout;
            return Validation { stage: Box::pin(ping_for_caller(guard)), phase, limit, slot };
        }
        let hooks = u32::try_from(self.hooks.at(HookPoint::Checkout).len()).unwrap_or(u32::MAX);
        let limit = self.config.hook_timeout.saturating_mul(hooks);
        Validation { stage: Box::pin(call_checkout_hooks(guard)), phase, limit, slot }
    }

    /// Completes a validation whose caller has gone. It may have begun on a runtime that is blocked
    /// now, so its limit starts again.
    pub(crate) async fn complete(self: Arc<Self>, validation: Validation<M::Connection>) {
        let Validation { stage, phase, limit, .. } = validation;
        match rt::until(rt::sleep(limit), stage).await {
            // Its hooks may have used it.
            Some(Validated::Fit(held)) if phase == Phase::Hook => self.return_unlent(held),
            Some(Validated::Fit(held)) => {
                self.change(|ledger, now| ledger.settle_checked(held, now));
            }
            Some(Validated::Unfit { .. } | Validated::Refused(_)) | None => {}
        }
    }

    /// Pings a connection. Returns why it must be closed, if so.
    async fn ping(&self, held: &mut Held<M>) -> Option<CloseReason> {
        let limit = self.config.ping_timeout;
        let outcome = call(limit, || self.manager.ping(&mut held.inner.conn)).await;
        held.inner.meta.validated_at = self.now();
        outcome.err().map(|error| self.ping_failed(held.id(), error))
    }

    /// Resets a connection, and calls the `on_connect` hooks again if the reset has undone what
    /// they had done. Returns why it must be closed, if so.
    async fn reset(&self, held: &mut Held<M>) -> Option<CloseReason> {
        let (limit, id) = (self.config.ping_timeout, held.id());
        if let Err(error) = call(limit, || self.manager.reset(&mut held.inner.conn)).await {
            self.report_failure("reset", error, |error| Event::ResetFailed { id, error });
            return Some(CloseReason::ResetFailed);
        }
        if !self.hooks.has(HookPoint::Connect) {
            return None;
        }
        match catch_panic(|| self.manager.undoes_on_connect(&mut held.inner.conn)) {
            Ok(false) => None,
            Ok(true) => {
                let outcome = self.call_hooks(HookPoint::Connect, held).await;
                outcome.err().map(|_| CloseReason::RefusedByHook)
            }
            Err(message) => {
                self.report_panic("undoes_on_connect", message);
                Some(CloseReason::Panicked)
            }
        }
    }

    async fn call_hooks(&self, point: HookPoint, held: &mut Held<M>) -> Result<(), Refused> {
        let info = self.describe(&held.inner.meta);
        self.run_hooks(point, &mut held.inner.conn, &info, Time::NEVER).await
    }

    /// Pings a lent connection over another handle to it; a failure is reported and acted upon.
    pub(crate) async fn ping_lent(
        self: Arc<Self>,
        id: ConnectionId,
        mut conn: M::Connection,
    ) -> Result<(), CloseReason> {
        let outcome = call(self.config.ping_timeout, || self.manager.ping(&mut conn)).await;
        outcome.map_err(|error| self.ping_failed(id, error))
    }

    /// Reports a failed ping.
    fn ping_failed(&self, id: ConnectionId, error: CallError<M::Error>) -> CloseReason {
        self.report_failure("ping", error, |error| Event::PingFailed { id, error });
        CloseReason::PingFailed
    }

    /// Reports a ping or a reset that failed, and invalidates all connections if the manager takes
    /// the error for a failover.
    fn report_failure(
        &self,
        method: &'static str,
        error: CallError<M::Error>,
        event: impl FnOnce(SharedError) -> Event,
    ) {
        let class = self.class_of(method, &error);
        let error = error.shared("ping_timeout");
        self.report(|| event(error));
        if class == ErrorClass::Failover {
            self.invalidate_all(false);
        }
    }
}

async fn ping_for_caller<M: Manager>(mut guard: CallGuard<M>) -> Validated<M::Connection> {
    let unfit = Validated::Unfit { refused: None };
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return unfit };
    let refused = shared.ping(held).await;
    let Some(held) = guard.held.take() else { return unfit };
    let Some(reason) = refused else { return Validated::Fit(held) };
    shared.change(|ledger, now| {
        ledger.retire(held, reason, now);
        ledger.mark_suspect(now, now);
    });
    unfit
}

async fn call_checkout_hooks<M: Manager>(mut guard: CallGuard<M>) -> Validated<M::Connection> {
    let unfit = |refused| Validated::Unfit { refused };
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return unfit(None) };
    let outcome = shared.call_hooks(HookPoint::Checkout, held).await;
    let Some(held) = guard.held.take() else { return unfit(None) };
    match outcome {
        Ok(()) => Validated::Fit(held),
        Err(Refused::Request(refusal)) => {
            shared.return_unlent(held);
            Validated::Refused(refusal)
        }
        Err(Refused::Connection(error)) => {
            shared.retire(held, CloseReason::RefusedByHook);
            unfit(Some(error))
        }
    }
}

/// Pings an idle connection, and puts it back if it answers.
pub(crate) async fn validate_idle<M: Manager>(mut guard: CallGuard<M>) {
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return };
    let refused = shared.ping(held).await;
    finish(guard, refused);
}

/// Resets or pings a connection if need be, calls the `on_checkin` hooks, and puts it back.
pub(crate) async fn check_in<M: Manager>(mut guard: CallGuard<M>, resets: bool, pings: bool) {
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return };
    let mut refused = if pings { shared.ping(held).await } else { None };
    if resets && refused.is_none() {
        refused = shared.reset(held).await;
    }
    if refused.is_none()
        && shared.hooks.has(HookPoint::Checkin)
        && shared.call_hooks(HookPoint::Checkin, held).await.is_err()
    {
        refused = Some(CloseReason::RefusedByHook);
    }
    finish(guard, refused);
}

/// Puts the connection back, or closes it if it was refused.
fn finish<M: Manager>(mut guard: CallGuard<M>, refused: Option<CloseReason>) {
    let Some(held) = guard.held.take() else { return };
    guard.shared.change(|ledger, now| {
        let Some(reason) = refused else { return ledger.settle_checked(held, now) };
        // Connections that have answered since the maintenance task took this one are not suspect.
        let began = ledger.slots().since(held.inner.meta.slot);
        ledger.retire(held, reason, now);
        if matches!(reason, CloseReason::PingFailed | CloseReason::ResetFailed) {
            ledger.mark_suspect(began, now);
        }
    });
}
