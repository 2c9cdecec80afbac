//! Looking at an idle connection before it is lent: the ping if one is due, and the `on_checkout` hooks.
//!
//! The first connection is examined on the caller's path. If it is dead the other idle ones may be too: the keeper
//! examines those, side by side, while the caller waits for whichever is first, one of them or a new one.

use crate::call::{CallError, call};
use crate::checkin::Resting;
use crate::connect::{Refused, run_hooks};
use crate::error::Phase;
use crate::event::{CloseReason, Event, SharedError};
use crate::hooks::{Moment, RequestRefusal};
use crate::lease::{Held, Tag};
use crate::manager::{Fault, Manager};
use crate::shared::Shared;
use crate::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// What an examination came to.
pub(crate) enum Examined<C> {
    Fit(Held<C>),
    Unfit {
        refused: Option<SharedError>,
    },
    /// The connection is fit and has gone back; the caller is refused.
    Refused(Arc<RequestRefusal>),
    OutOfTime(Phase),
}

/// Pings if due and calls the `on_checkout` hooks, each within its own limit and what is left of the caller's.
pub(crate) async fn examine<M: Manager>(
    mut examinee: Examinee<M>,
    ping: bool,
    deadline: Time,
) -> Examined<M::Connection> {
    let shared = Arc::clone(&examinee.shared);
    let Some(held) = &mut examinee.held else { return Examined::Unfit { refused: None } };
    if ping {
        let left = deadline.since(shared.now());
        let limit = shared.config.ping_timeout.min(left);
        if let Err(error) = call(limit, || shared.manager.ping(&mut held.inner.conn)).await {
            let late = matches!(error, CallError::TimedOut(_)) && limit == left;
            let reason = failed_ping(&shared, held.inner.tag, error);
            examinee.refuse(reason, true);
            return if late { Examined::OutOfTime(Phase::Ping) } else { Examined::Unfit { refused: None } };
        }
        held.inner.tag.proved_at = shared.now();
    }
    if shared.checkout_hooks {
        let info = shared.describe(&held.inner.tag);
        let left = deadline.since(shared.now());
        let outcome = run_hooks(&shared, Moment::Checkout, &mut held.inner.conn, &info, deadline).await;
        if let Err(Refused::Request(refusal)) = outcome {
            if let Some(held) = examinee.held.take() {
                shared.give_back(held);
            }
            return Examined::Refused(refusal);
        }
        if let Err(Refused::Connection(error)) = outcome {
            let late = left.is_zero() || deadline <= shared.now();
            examinee.refuse(CloseReason::RefusedByHook, false);
            return if late { Examined::OutOfTime(Phase::Hook) } else { Examined::Unfit { refused: Some(error) } };
        }
    }
    match examinee.held.take() {
        Some(held) => Examined::Fit(held),
        None => Examined::Unfit { refused: None },
    }
}

/// A connection under examination. If the acquire is dropped half way, the connection was cut off and is closed.
pub(crate) struct Examinee<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) held: Option<Held<M::Connection>>,
}

impl<M: Manager> Examinee<M> {
    /// Closes it. If it was `dead`, the other idle ones may be too: the keeper examines them, side by side.
    fn refuse(&mut self, reason: CloseReason, dead: bool) {
        if let Some(held) = self.held.take() {
            self.shared.change(|ledger, now| {
                ledger.retire(held, reason, now);
                if dead {
                    ledger.examine_idle(Duration::ZERO, now);
                }
            });
        }
    }
}

impl<M: Manager> Drop for Examinee<M> {
    fn drop(&mut self) {
        self.refuse(CloseReason::Cut, false);
    }
}

/// Pings an idle connection that nobody is waiting for, and puts it back if it answers.
pub(crate) async fn examine_idle<M: Manager>(mut resting: Resting<M>) {
    let shared = Arc::clone(&resting.shared);
    let Some(held) = &mut resting.held else { return };
    let limit = shared.config.ping_timeout;
    let outcome = call(limit, || shared.manager.ping(&mut held.inner.conn)).await;
    let refused = outcome.err().map(|error| failed_ping(&shared, held.inner.tag, error));
    held.inner.tag.proved_at = shared.now();
    resting.finish(refused);
}

/// Tells of a ping that failed, and acts on what the manager makes of it.
pub(crate) fn failed_ping<M: Manager>(shared: &Shared<M>, tag: Tag, error: CallError<M::Error>) -> CloseReason {
    let fault = match &error {
        CallError::Failed(error) => shared.classify(error),
        CallError::TimedOut(_) => Fault::Connection,
        CallError::Panicked(message) => {
            shared.tell_panic("ping", message.clone());
            Fault::Connection
        }
    };
    let error = error.shared("ping_timeout");
    shared.tell(|| Event::PingFailed { id: tag.id, error });
    if fault == Fault::Failover {
        shared.invalidate_all(false);
    }
    CloseReason::PingFailed
}
