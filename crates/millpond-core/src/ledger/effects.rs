//! Effects: what a change of the ledger causes, to be performed once its lock is released.

use crate::ledger::PooledConnection;
use crate::{CloseReason, Event};
use std::any::Any;
use std::task::Waker;

/// An effect of a change. Wakers, observers and destructors are user code.
#[derive(Debug)]
pub(crate) enum Effect<C> {
    Wake(Waker),
    /// Wakes `close` and `prewarm`, with the number of the change.
    Changed(u64),
    /// Delivers an event to the observers, with its sequence number.
    Report(u64, Event),
    /// Drops a connection that no maintenance task is left to close.
    Drop(PooledConnection<C>, CloseReason),
    /// Drops an error that is not needed any more, or a validation that no maintenance task is left
    /// to complete.
    Discard(Box<dyn Any + Send>),
}

/// The effects of a change. Most changes have one waker to wake and one event to report, or less:
/// these are not allocated.
#[derive(Debug)]
pub(crate) struct Effects<C> {
    pub(crate) wake: Option<Waker>,
    pub(crate) report: Option<(u64, Event)>,
    pub(crate) others: Vec<Effect<C>>,
}

impl<C> Default for Effects<C> {
    fn default() -> Self {
        Self { wake: None, report: None, others: Vec::new() }
    }
}

impl<C> Effects<C> {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.wake.is_none() && self.report.is_none() && self.others.is_empty()
    }

    pub(crate) fn push(&mut self, effect: Effect<C>) {
        match effect {
            Effect::Wake(waker) if self.wake.is_none() => self.wake = Some(waker),
            Effect::Report(seq, event) if self.report.is_none() => self.report = Some((seq, event)),
            effect => self.others.push(effect),
        }
    }

    pub(crate) fn extend(&mut self, effects: impl IntoIterator<Item = Effect<C>>) {
        effects.into_iter().for_each(|effect| self.push(effect));
    }

    pub(crate) fn discard(&mut self, value: impl Any + Send) {
        self.push(Effect::Discard(Box::new(value)));
    }

    /// All effects in the order in which to perform them: wakers, events, and last destructors,
    /// which may block.
    pub(crate) fn in_order(self) -> Vec<Effect<C>> {
        let wake = self.wake.map(Effect::Wake);
        let report = self.report.map(|(seq, event)| Effect::Report(seq, event));
        let mut all: Vec<_> = wake.into_iter().chain(report).chain(self.others).collect();
        all.sort_by_key(|effect| match effect {
            Effect::Wake(_) | Effect::Changed(_) => 0,
            Effect::Report(seq, _) => *seq,
            Effect::Drop(..) | Effect::Discard(_) => u64::MAX,
        });
        all
    }
}
