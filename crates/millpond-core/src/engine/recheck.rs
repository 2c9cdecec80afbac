//! What the maintenance task does with connections before they may be lent again: resets, pings of
//! idle ones, and validations whose callers have gone.

use crate::engine::Shared;
use crate::engine::call::{CallGuard, call};
use crate::engine::run_hooks::run_hooks;
use crate::engine::validate::{failed_ping, report_failure};
use crate::ledger::{PooledConnection, Validated, Validation};
use crate::rt::{Time, catch_panic};
use crate::{CloseReason, Event, HookPoint, Manager, Phase, rt};
use std::sync::Arc;

/// Completes a validation whose caller has gone. It may have begun on a runtime that is blocked
/// now, so its limit starts again.
pub(crate) async fn complete<M: Manager>(
    shared: Arc<Shared<M>>,
    validation: Validation<M::Connection>,
) {
    let Validation { stage, phase, limit, .. } = validation;
    match rt::until(rt::sleep(limit), stage).await {
        // Its hooks may have used it.
        Some(Validated::Fit(held)) if phase == Phase::Hook => shared.return_unlent(held),
        Some(Validated::Fit(held)) => shared.change(|ledger, now| ledger.settle_checked(held, now)),
        Some(Validated::Unfit { .. } | Validated::Refused(_)) | None => {}
    }
}

/// Pings an idle connection, and puts it back if it answers.
pub(crate) async fn validate_idle<M: Manager>(mut guard: CallGuard<M>) {
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return };
    let refused = ping(&shared, held).await;
    held.inner.meta.validated_at = shared.now();
    finish(guard, refused);
}

/// Resets or pings a connection if need be, calls the `on_checkin` hooks, and puts it back.
pub(crate) async fn check_in<M: Manager>(mut guard: CallGuard<M>, reset: bool, pings: bool) {
    let shared = Arc::clone(&guard.shared);
    let Some(held) = &mut guard.held else { return };
    let mut refused = if pings { ping(&shared, held).await } else { None };
    if reset {
        let limit = shared.config.ping_timeout;
        let id = held.inner.meta.id;
        if let Err(error) = call(limit, || shared.manager.reset(&mut held.inner.conn)).await {
            report_failure(&shared, "reset", error, |error| Event::ResetFailed { id, error });
            refused = Some(CloseReason::ResetFailed);
        }
    }
    if reset && refused.is_none() && shared.hooks.has(HookPoint::Connect) {
        refused = rerun_on_connect(&shared, held).await;
    }
    if refused.is_none() && shared.checkin_hooks {
        refused = call_hooks(&shared, HookPoint::Checkin, held).await;
    }
    finish(guard, refused);
}

async fn ping<M: Manager>(
    shared: &Shared<M>,
    held: &mut PooledConnection<M::Connection>,
) -> Option<CloseReason> {
    let limit = shared.config.ping_timeout;
    let outcome = call(limit, || shared.manager.ping(&mut held.inner.conn)).await;
    outcome.err().map(|error| failed_ping(shared, held.inner.meta.id, error))
}

async fn call_hooks<M: Manager>(
    shared: &Shared<M>,
    point: HookPoint,
    held: &mut PooledConnection<M::Connection>,
) -> Option<CloseReason> {
    let info = shared.describe(&held.inner.meta);
    let outcome = run_hooks(shared, point, &mut held.inner.conn, &info, Time::NEVER).await;
    outcome.err().map(|_| CloseReason::RefusedByHook)
}

/// Calls the `on_connect` hooks again if the reset has undone what they had done.
async fn rerun_on_connect<M: Manager>(
    shared: &Shared<M>,
    held: &mut PooledConnection<M::Connection>,
) -> Option<CloseReason> {
    match catch_panic(|| shared.manager.undoes_on_connect(&mut held.inner.conn)) {
        Ok(false) => None,
        Ok(true) => call_hooks(shared, HookPoint::Connect, held).await,
        Err(message) => {
            shared.report_panic("undoes_on_connect", message);
            Some(CloseReason::Panicked)
        }
    }
}

/// Puts the connection back, or closes it if it was refused.
fn finish<M: Manager>(mut guard: CallGuard<M>, refused: Option<CloseReason>) {
    let Some(held) = guard.held.take() else { return };
    guard.shared.change(|ledger, now| {
        let Some(reason) = refused else { return ledger.settle_checked(held, now) };
        // Connections that have answered since the maintenance task took this one are not suspect.
        let began = ledger.slot_since(held.inner.meta.slot);
        ledger.retire(held, reason, now);
        if matches!(reason, CloseReason::PingFailed | CloseReason::ResetFailed) {
            ledger.mark_suspect(began, now);
        }
    });
}
