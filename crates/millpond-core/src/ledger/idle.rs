//! The idle connections: a stack with the freshest on top, and when work is due for one of them.
//!
//! Only a sweep visits the whole stack, and only when something is due: a return, a reset or a turn
//! of the maintenance task costs the same however many connections are idle.

use crate::ledger::{PooledConnection, Renewal, note_visit};
use crate::rt::Time;
use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) struct Idle<C> {
    /// Those that have been idle longest are in front.
    stack: VecDeque<PooledConnection<C>>,
    /// How many of them wait for a successor.
    renewals_wanted: usize,
    /// How many of them have one.
    renewals_done: usize,
    /// When the first of them reaches its age or is due for a successor. May be earlier, if that
    /// one has been lent since.
    due: Time,
    /// Whether a successor is due already and has not been asked for.
    overdue: bool,
}

impl<C> Idle<C> {
    pub(crate) fn new() -> Self {
        Self {
            stack: VecDeque::new(),
            renewals_wanted: 0,
            renewals_done: 0,
            due: Time::NEVER,
            overdue: false,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.stack.len()
    }

    pub(crate) fn renewals_wanted(&self) -> usize {
        self.renewals_wanted
    }

    pub(crate) fn renewals_done(&self) -> usize {
        self.renewals_done
    }

    /// When a sweep will find something, if not [at once](Self::is_due).
    pub(crate) fn due(&self) -> Time {
        self.due
    }

    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.overdue || now >= self.due
    }

    pub(crate) fn oldest(&self) -> Option<&PooledConnection<C>> {
        self.stack.front()
    }

    #[inline]
    pub(crate) fn freshest(&self) -> Option<&PooledConnection<C>> {
        self.stack.back()
    }

    #[cfg(all(test, not(millpond_models)))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &PooledConnection<C>> {
        self.stack.iter()
    }

    #[inline]
    pub(crate) fn push(&mut self, held: PooledConnection<C>, now: Time) {
        self.count_in(&held, now);
        self.stack.push_back(held);
    }

    /// Inserts a connection by how long it has been idle: one that was validated is not the
    /// freshest.
    pub(crate) fn insert(&mut self, held: PooledConnection<C>, now: Time) {
        let since = held.inner.meta.idle_since;
        let later =
            self.stack.iter().rev().take_while(|other| other.inner.meta.idle_since > since).count();
        self.count_in(&held, now);
        self.stack.insert(self.stack.len().saturating_sub(later), held);
    }

    #[inline]
    pub(crate) fn pop_freshest(&mut self) -> Option<PooledConnection<C>> {
        let held = self.stack.pop_back()?;
        self.count_out(&held);
        Some(held)
    }

    pub(crate) fn pop_oldest(&mut self) -> Option<PooledConnection<C>> {
        let held = self.stack.pop_front()?;
        self.count_out(&held);
        note_visit();
        Some(held)
    }

    /// Takes all connections out, to be put back one by one with [`push`](Self::push).
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = PooledConnection<C>> + use<C> {
        let mut taken = std::mem::replace(self, Self::new());
        std::iter::from_fn(move || taken.pop_oldest())
    }

    /// Makes one of the `candidates` next to the freshest the freshest, if `wanted` accepts it.
    pub(crate) fn move_to_front(
        &mut self,
        candidates: usize,
        wanted: impl Fn(&PooledConnection<C>) -> bool,
    ) {
        let behind = self.stack.iter().rev().skip(1).take(candidates).position(wanted);
        if let Some(behind) = behind
            && let Some(found) =
                self.stack.remove(self.stack.len().saturating_sub(behind.saturating_add(2)))
        {
            self.stack.push_back(found);
        }
    }

    /// A successor was opened for the connection that has waited for one longest.
    pub(crate) fn note_successor(&mut self) {
        if self.renewals_wanted == 0 {
            return;
        }
        let mut wanting = self.stack.iter_mut().inspect(|_| note_visit());
        if let Some(old) = wanting.find(|held| held.inner.meta.renewal == Renewal::Wanted) {
            old.inner.meta.renewal = Renewal::Done;
            self.renewals_wanted = self.renewals_wanted.saturating_sub(1);
            self.renewals_done = self.renewals_done.saturating_add(1);
        }
    }

    #[inline]
    fn count_in(&mut self, held: &PooledConnection<C>, now: Time) {
        let meta = &held.inner.meta;
        match meta.renewal {
            Renewal::NotYet if meta.renew_at > now => {
                return self.due = self.due.min(meta.renew_at);
            }
            Renewal::NotYet => self.overdue = true,
            Renewal::Wanted => self.renewals_wanted = self.renewals_wanted.saturating_add(1),
            Renewal::Done => self.renewals_done = self.renewals_done.saturating_add(1),
        }
        self.due = self.due.min(meta.expires);
    }

    #[inline]
    fn count_out(&mut self, held: &PooledConnection<C>) {
        match held.inner.meta.renewal {
            Renewal::NotYet => {}
            Renewal::Wanted => self.renewals_wanted = self.renewals_wanted.saturating_sub(1),
            Renewal::Done => self.renewals_done = self.renewals_done.saturating_sub(1),
        }
    }
}

#[cfg(test)]
#[path = "../../tests/unit/idle.rs"]
mod tests;
