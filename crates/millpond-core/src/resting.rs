//! What the keeper looks after before it may be lent again: resets, pings of idle connections, examinations whose callers
//! have gone.

use crate::event::CloseReason;
use crate::examine::Examination;
use crate::lease::Held;
use crate::ledger::{Job, Ledger};
use crate::slots::Stage;
use crate::time::Time;
use std::time::Duration;

impl<C: Send + 'static> Ledger<C> {
    /// A connection that came back needs attention before it can be lent.
    pub(crate) fn rest(&mut self, held: Held<C>, reset: bool, now: Time) {
        let unfit = if self.closed { Some(CloseReason::PoolClosed) } else { self.unfit(&held.inner.tag, now) };
        if let Some(reason) = unfit {
            return self.retire(held, reason, now);
        }
        if self.keeper.is_none() {
            return self.retire(held, CloseReason::HomeEnded, now);
        }
        self.slots.shift(held.inner.tag.slot, Stage::Resting, now);
        self.inbox.push(Job::Checkin { held, reset });
        self.call_keeper(now);
        self.check();
    }

    /// Has the idle connections of which nothing was heard for so long examined by the keeper, side by side.
    pub(crate) fn examine_idle(&mut self, unheard: Duration, now: Time) {
        if self.keeper.is_none() {
            return;
        }
        for _ in 0..self.idle.len() {
            let Some(held) = self.idle.pop_front() else { break };
            if now.since(held.inner.tag.proved_at) >= unheard {
                self.slots.shift(held.inner.tag.slot, Stage::Resting, now);
                self.inbox.push(Job::Examine(held));
            } else {
                self.idle.push_back(held);
            }
        }
        self.call_keeper(now);
    }

    /// The caller of an examination goes away, and the keeper sees it through. Without a keeper it comes back.
    pub(crate) fn adopt(&mut self, examination: Examination<C>, now: Time) -> Option<Examination<C>> {
        if self.keeper.is_none() {
            return Some(examination);
        }
        self.slots.shift(examination.slot, Stage::Resting, now);
        self.inbox.push(Job::SeeThrough(examination));
        self.call_keeper(now);
        self.check();
        None
    }
}
