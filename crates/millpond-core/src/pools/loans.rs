//! The loans of a `SharedPool`: who has a clone of which connection, since when, and which loans
//! are too long.
//!
//! What every loan calls is `inline`: nothing here is generic, so another crate could not inline it
//! otherwise.

use crate::info::ConnectionId;
use crate::rt::time::Time;
use crate::status::Holder;
use std::panic::Location;

/// Who has a clone of which connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loan {
    pub(crate) id: ConnectionId,
    pub(crate) location: &'static Location<'static>,
    pub(crate) label: Option<&'static str>,
    pub(crate) since: Time,
    /// Whether its holder was reported for keeping it too long.
    pub(crate) is_reported: bool,
}

/// All loans, each in a place of its own.
#[derive(Debug, Default)]
pub(crate) struct Loans {
    places: Vec<Option<Loan>>,
    /// The places that are empty.
    free: Vec<u32>,
    /// When the oldest loan began that was not reported, if reports are wanted. Earlier, if that
    /// one has ended.
    quiet_since: Option<Time>,
}

impl Loans {
    /// Notes a loan: its place.
    #[inline]
    pub(crate) fn begin(&mut self, loan: Loan) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len().saturating_sub(1)).unwrap_or(u32::MAX)
        });
        if let Some(empty) = self.places.get_mut(place as usize) {
            *empty = Some(loan);
        }
        place
    }

    /// A loan has ended: what was noted of it.
    #[inline]
    pub(crate) fn end(&mut self, place: u32) -> Option<Loan> {
        let loan = self.places.get_mut(place as usize).and_then(Option::take)?;
        self.free.push(place);
        Some(loan)
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Loan> {
        self.places.iter().flatten()
    }

    /// Who has a clone, the oldest first.
    pub(crate) fn holders(&self, now: Time) -> Vec<Holder> {
        let mut holders: Vec<Holder> = self.iter().map(|loan| loan.holder(now)).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        holders
    }

    /// A loan begins at `now` where long ones are reported. Returns true if no other one was waited
    /// for: then the maintenance task does not know yet when to look.
    #[inline]
    pub(crate) fn expect_report(&mut self, now: Time) -> bool {
        let is_first = self.quiet_since.is_none();
        self.quiet_since.get_or_insert(now);
        is_first
    }

    /// The holders since before `deadline` that were not reported yet; they count as reported from
    /// now on.
    pub(crate) fn report(&mut self, deadline: Time, now: Time) -> Vec<Holder> {
        let mut holders = Vec::new();
        if self.quiet_since.is_none_or(|since| since > deadline) {
            return holders;
        }
        self.quiet_since = None;
        for loan in self.places.iter_mut().flatten().filter(|loan| !loan.is_reported) {
            if loan.since <= deadline {
                loan.is_reported = true;
                holders.push(loan.holder(now));
            } else {
                self.quiet_since =
                    Some(self.quiet_since.map_or(loan.since, |since| since.min(loan.since)));
            }
        }
        holders
    }

    /// When the oldest loan began that was not reported, or earlier.
    pub(crate) fn quiet_since(&self) -> Option<Time> {
        self.quiet_since
    }
}

impl Loan {
    fn holder(&self, now: Time) -> Holder {
        Holder {
            id: self.id,
            location: self.location,
            label: self.label,
            held: now.since(self.since),
        }
    }
}
