//! What the keeper looks after before it may be lent again: resets, pings of idle connections, examinations whose callers
//! have gone.

use crate::event::CloseReason;
use crate::ledger::entry::{Examination, Job, LeaseMeta, PooledConnection};
use crate::ledger::slots::Stage;
use crate::ledger::state::Ledger;
use crate::rt::time::Time;
use std::time::Duration;

impl<C: Send + 'static> Ledger<C> {
    /// A connection that came back needs attention before it can be lent.
    pub(crate) fn rest(&mut self, held: PooledConnection<C>, reset: bool, now: Time) {
        let ping = !reset && self.slots.is_doubted(held.inner.tag.slot);
        let unfit = if self.closed { Some(CloseReason::PoolClosed) } else { self.unfit(&held.inner.tag, now) };
        if let Some(reason) = unfit {
            return self.retire(held, reason, now);
        }
        if self.task.is_none() {
            return self.retire(held, CloseReason::RuntimeShutDown, now);
        }
        self.slots.shift(held.inner.tag.slot, Stage::Resting, now);
        self.inbox.push(Job::Checkin { held, reset, ping });
        self.call_keeper(now);
        self.check();
    }

    /// A connection was found broken. The others that have not answered since `before` may be broken too: those that are idle
    /// are examined now, and those that are out when they come back. To come back is no answer.
    pub(crate) fn suspect(&mut self, before: Time, now: Time) {
        let silent = |tag: &LeaseMeta| tag.created <= before && tag.proved_at <= before.max(tag.idle_since);
        self.examine_those(silent, now);
        self.slots.doubt_loans(before);
        self.note_eventful();
    }

    /// Has the idle connections of which nothing was heard for so long examined by the keeper, side by side.
    pub(crate) fn examine_idle(&mut self, unheard: Duration, now: Time) {
        self.examine_those(|tag| now.since(tag.proved_at) >= unheard, now);
    }

    fn examine_those(&mut self, those: impl Fn(&LeaseMeta) -> bool, now: Time) {
        if self.task.is_none() {
            return;
        }
        for held in self.idle.take_all() {
            if those(&held.inner.tag) {
                self.examine(held, now);
            } else {
                self.idle.push(held, now);
            }
        }
    }

    /// Has a connection examined by the keeper.
    pub(crate) fn examine(&mut self, held: PooledConnection<C>, now: Time) {
        self.slots.shift(held.inner.tag.slot, Stage::Resting, now);
        self.inbox.push(Job::Examine(held));
        self.call_keeper(now);
    }

    /// The caller of an examination goes away, and the keeper sees it through. Without a keeper it comes back.
    pub(crate) fn adopt(&mut self, examination: Examination<C>, now: Time) -> Option<Examination<C>> {
        if self.task.is_none() {
            return Some(examination);
        }
        self.slots.shift(examination.slot, Stage::Resting, now);
        self.inbox.push(Job::SeeThrough(examination));
        self.call_keeper(now);
        self.check();
        None
    }
}
