//! What the maintenance task does with connections before they may be lent again: resets, pings of
//! idle ones, and validations whose callers have gone.

use crate::engine::call::{CallError, call};
use crate::engine::run_hooks::run_hooks;
use crate::engine::shared::Shared;
use crate::engine::validate::failed_ping;
use crate::error::Phase;
use crate::event::{CloseReason, Event};
use crate::hooks::HookPoint;
use crate::ledger::{LeaseMeta, PooledConnection, Validated, Validation};
use crate::manager::{ErrorClass, Manager};
use crate::rt;
use crate::rt::panics::calmly;
use crate::rt::time::Time;
use std::sync::Arc;

/// Sees a validation through whose caller has gone. It may have been begun on a runtime that stands
/// still by now, so its limit is set anew.
pub(crate) async fn see_through<M: Manager>(
    shared: Arc<Shared<M>>,
    validation: Validation<M::Connection>,
) {
    let Validation { stage, phase, limit, .. } = validation;
    match rt::until(rt::sleep(limit), stage).await {
        // Its hooks may have used it.
        Some(Validated::Fit(held)) if phase == Phase::Hook => shared.give_back(held),
        Some(Validated::Fit(held)) => shared.change(|ledger, now| ledger.settle_checked(held, now)),
        Some(Validated::Unfit { .. } | Validated::Refused(_)) | None => {}
    }
}

/// Pings an idle connection that nobody is waiting for, and puts it back if it answers.
pub(crate) async fn validate_idle<M: Manager>(mut resting: Resting<M>) {
    let shared = Arc::clone(&resting.shared);
    let Some(held) = &mut resting.held else { return };
    let limit = shared.config.ping_timeout;
    let outcome = call(limit, || shared.manager.ping(&mut held.inner.conn)).await;
    let refused = outcome.err().map(|error| failed_ping(&shared, held.inner.tag, error));
    held.inner.tag.validated_at = shared.now();
    resting.finish(refused);
}

/// Resets or pings a connection if need be, calls the `on_checkin` hooks, and puts it back.
pub(crate) async fn check_in<M: Manager>(mut resting: Resting<M>, reset: bool, ping: bool) {
    let shared = Arc::clone(&resting.shared);
    let Some(held) = &mut resting.held else { return };
    let mut refused = None;
    let limit = shared.config.ping_timeout;
    if ping && let Err(error) = call(limit, || shared.manager.ping(&mut held.inner.conn)).await {
        refused = Some(failed_ping(&shared, held.inner.tag, error));
    }
    if reset && let Err(error) = call(limit, || shared.manager.reset(&mut held.inner.conn)).await {
        refused = Some(failed_reset(&shared, held.inner.tag, error));
    }
    if reset && refused.is_none() && shared.hooks.has(HookPoint::Connect) {
        refused = connect_again(&shared, held).await;
    }
    if refused.is_none() && shared.checkin_hooks {
        let info = shared.describe(&held.inner.tag);
        let outcome =
            run_hooks(&shared, HookPoint::Checkin, &mut held.inner.conn, &info, Time::NEVER).await;
        refused = outcome.err().map(|_| CloseReason::RefusedByHook);
    }
    resting.finish(refused);
}

/// Calls the `on_connect` hooks again if the reset has undone what they had done.
async fn connect_again<M: Manager>(
    shared: &Shared<M>,
    held: &mut PooledConnection<M::Connection>,
) -> Option<CloseReason> {
    match calmly(|| shared.manager.undoes_on_connect(&mut held.inner.conn)) {
        Ok(false) => None,
        Ok(true) => {
            let info = shared.describe(&held.inner.tag);
            let outcome =
                run_hooks(shared, HookPoint::Connect, &mut held.inner.conn, &info, Time::NEVER)
                    .await;
            outcome.err().map(|_| CloseReason::RefusedByHook)
        }
        Err(message) => {
            shared.tell_panic("undoes_on_connect", message);
            Some(CloseReason::Panicked)
        }
    }
}

fn failed_reset<M: Manager>(
    shared: &Shared<M>,
    tag: LeaseMeta,
    error: CallError<M::Error>,
) -> CloseReason {
    let fault = match &error {
        CallError::Failed(error) => shared.classify(error),
        CallError::TimedOut(_) => ErrorClass::Connection,
        CallError::Panicked(message) => {
            shared.tell_panic("reset", message.clone());
            ErrorClass::Connection
        }
    };
    let error = error.shared("ping_timeout");
    shared.tell(|| Event::ResetFailed { id: tag.id, error });
    if fault == ErrorClass::Failover {
        shared.invalidate_all(false);
    }
    CloseReason::ResetFailed
}

/// A connection that the maintenance task is looking after. If the job is dropped half way, the
/// connection was cut off.
pub(crate) struct Resting<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) held: Option<PooledConnection<M::Connection>>,
}

impl<M: Manager> Resting<M> {
    pub(crate) fn finish(mut self, refused: Option<CloseReason>) {
        let Some(held) = self.held.take() else { return };
        self.shared.change(|ledger, now| {
            let Some(reason) = refused else { return ledger.settle_checked(held, now) };
            // Since when it had been with the maintenance task: what was heard of since then is
            // well.
            let began = ledger.slot_since(held.inner.tag.slot);
            ledger.retire(held, reason, now);
            if matches!(reason, CloseReason::PingFailed | CloseReason::ResetFailed) {
                ledger.suspect(began, now);
            }
        });
    }
}

impl<M: Manager> Drop for Resting<M> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.shared.retire(held, CloseReason::Interrupted);
        }
    }
}
