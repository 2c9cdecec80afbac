//! The way back: what happens when a lease ends, from the borrower's drop to the idle connections.
//!
//! The first half runs in `Drop`: it looks at the connection, moves it under the lock, and wakes somebody. What has to
//! be awaited is a job of the keeper.

use crate::engine::Shared;
use crate::engine::call::{CallError, call, calmly};
use crate::engine::connect::run_hooks;
use crate::engine::validate::failed_ping;
use crate::event::{CloseReason, Event};
use crate::hooks::HookPoint;
use crate::info::ConnectionInfo;
use crate::lease::{LeaseMeta, LeaseOwner, PooledConnection};
use crate::ledger::Ledger;
use crate::ledger::fast_path::Homecoming;
use crate::manager::{ErrorClass, Manager, Triage};
use crate::rt::time::Time;
use std::sync::Arc;
use std::thread;

impl<M: Manager> LeaseOwner<M::Connection> for Shared<M> {
    fn returned(&self, mut held: PooledConnection<M::Connection>) {
        let verdict = if thread::panicking() { Err(CloseReason::Panicked) } else { self.judge(&mut held) };
        self.come_back(held, verdict);
    }

    fn discarded(&self, held: PooledConnection<M::Connection>, reason: CloseReason) {
        self.come_back(held, Err(reason));
    }

    fn detached(&self, tag: &LeaseMeta) {
        let seq = self.change(|ledger, now| {
            ledger.detached(tag.slot, now);
            ledger.stamp_if(self.observed())
        });
        if let Some(seq) = seq {
            self.tell_at(seq, &Event::Detached { id: tag.id });
        }
    }

    fn info(&self, tag: &LeaseMeta) -> ConnectionInfo {
        self.describe(tag)
    }
}

impl<M: Manager> Shared<M> {
    /// What the manager's `triage` makes of a connection that comes back, as [`come_back`](Self::come_back) takes it.
    fn judge(&self, held: &mut PooledConnection<M::Connection>) -> Result<bool, CloseReason> {
        match calmly(|| self.manager.triage(&mut held.inner.conn)) {
            Ok(Triage::Keep) => Ok(false),
            Ok(Triage::Reset) => Ok(true),
            Ok(Triage::Discard) => Err(CloseReason::Unverified),
            Ok(Triage::Broken) => Err(CloseReason::Broken),
            Err(message) => {
                self.tell_panic("triage", message);
                Err(CloseReason::Panicked)
            }
        }
    }

    /// Takes back a connection that was to be lent and was not: its hooks may have used it, so it is treated as if it had
    /// been, but for telling and measuring.
    pub(crate) fn give_back(&self, mut held: PooledConnection<M::Connection>) {
        let verdict = self.judge(&mut held);
        self.change(|ledger, now| self.put_away(ledger, held, verdict, now));
    }

    fn put_away(
        &self,
        ledger: &mut Ledger<M::Connection>,
        held: PooledConnection<M::Connection>,
        verdict: Result<bool, CloseReason>,
        now: Time,
    ) {
        match verdict {
            Ok(reset) if ledger.keeps && (reset || self.checkin_hooks) => ledger.rest(held, reset, now),
            Ok(_) => ledger.put_back(held, now),
            Err(reason) => {
                ledger.retire(held, reason, now);
                if reason == CloseReason::Broken {
                    ledger.suspect(now, now);
                }
            }
        }
        if ledger.eventful {
            ledger.note_eventful();
        }
    }

    /// `Ok(true)`: fit after a reset; `Err`: to be closed.
    fn come_back(&self, mut held: PooledConnection<M::Connection>, verdict: Result<bool, CloseReason>) {
        let now = self.glance();
        if let Some(seat) = held.inner.seat.take() {
            seat.leave_over();
        }
        let mut ledger = self.ledger.lock();
        let mut held = if self.plain_checkin && verdict == Ok(false) {
            match ledger.put_back_fresh(held, now) {
                Homecoming::Idle => return,
                Homecoming::Granted(waker) => {
                    drop(ledger);
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    return;
                }
                Homecoming::Considered(held) => held,
            }
        } else {
            held
        };
        let LeaseMeta { id, slot, .. } = held.inner.tag;
        (held.inner.tag.idle_since, held.inner.tag.proved_at) = (now, now);
        let lent = ledger.slots.since(slot);
        ledger.measure_use(lent, now);
        let overdue = ledger.config.max_lease.is_some_and(|limit| now.since(lent) >= limit);
        let verdict = if overdue { verdict.and(Err(CloseReason::Overdue)) } else { verdict };
        let told = ledger.stamp_if(self.routine_observed()).map(|seq| (seq, now.since(lent)));
        self.put_away(&mut ledger, held, verdict, now);
        self.follow(ledger);
        if let Some((seq, held)) = told {
            self.tell_at(seq, &Event::Returned { id, held });
        }
    }
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
    if reset && refused.is_none() && !shared.hooks.at(HookPoint::Connect).is_empty() {
        refused = connect_again(&shared, held).await;
    }
    if refused.is_none() && shared.checkin_hooks {
        let info = shared.describe(&held.inner.tag);
        let outcome = run_hooks(&shared, HookPoint::Checkin, &mut held.inner.conn, &info, Time::NEVER).await;
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
            let outcome = run_hooks(shared, HookPoint::Connect, &mut held.inner.conn, &info, Time::NEVER).await;
            outcome.err().map(|_| CloseReason::RefusedByHook)
        }
        Err(message) => {
            shared.tell_panic("undoes_on_connect", message);
            Some(CloseReason::Panicked)
        }
    }
}

fn failed_reset<M: Manager>(shared: &Shared<M>, tag: LeaseMeta, error: CallError<M::Error>) -> CloseReason {
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

/// A connection that the keeper is looking after. If the job is dropped half way, the connection was cut off.
pub(crate) struct Resting<M: Manager> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) held: Option<PooledConnection<M::Connection>>,
}

impl<M: Manager> Resting<M> {
    pub(crate) fn finish(mut self, refused: Option<CloseReason>) {
        let Some(held) = self.held.take() else { return };
        self.shared.change(|ledger, now| {
            let Some(reason) = refused else { return ledger.settle_checked(held, now) };
            // Since when it had been with the keeper: what was heard of since then is well.
            let began = ledger.slots.since(held.inner.tag.slot);
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
