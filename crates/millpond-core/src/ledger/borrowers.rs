//! The borrowers of shares who wait for a member.

use crate::ledger::bump;
use crate::rt::Time;
use std::collections::BTreeSet;

/// What the ledger knows of the borrowers of shares, beside the slots of their shares.
///
/// Those who wait are in no queue: when there is a member again, all of them are served at once.
#[derive(Debug, Default)]
pub(crate) struct Borrowers {
    /// How many members were asked for.
    members_asked: u64,
    /// Those who wait, by the time and the number of their acquire.
    waiting: BTreeSet<(Time, u64)>,
}

impl Borrowers {
    pub(super) fn number_member(&mut self) -> u64 {
        bump(&mut self.members_asked);
        self.members_asked
    }

    pub(super) fn join(&mut self, since: Time, number: u64) {
        self.waiting.insert((since, number));
    }

    pub(super) fn leave(&mut self, since: Time, number: u64) {
        self.waiting.remove(&(since, number));
    }

    pub(super) fn waiting(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn oldest_waiter(&self) -> Option<Time> {
        self.waiting.first().map(|(since, _)| *since)
    }
}
