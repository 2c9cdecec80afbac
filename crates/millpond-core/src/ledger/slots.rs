//! The slots of a pool, one for each connection that exists or is being opened and one for each
//! share of a connection, and the only counters of them.
//!
//! # Invariants
//!
//! 1. A slot is in exactly one [`Stage`]; `counts` says how many are in each. Only
//!    [`Slots::shift`] and [`Slots::shift_known`] change either.
//! 2. A number is given to one connection only.

use crate::ledger::note_visit;
use crate::rt::{TaskId, Time};
use crate::{ConnectionId, Holder};
use std::collections::BTreeSet;
use std::mem;
use std::panic::Location;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Free,
    Connecting,
    Idle,
    /// Lent, or being validated for the caller who is about to get it.
    InUse,
    /// With the maintenance task: being reset or validated.
    Resetting,
    Closing,
    /// Held for a connection that is not one of the pool's.
    Reserved,
    /// A share of the connection in another slot, which is in use. Not a connection itself.
    Share,
}

const STAGES: usize = 8;

/// The caller that asks for a connection, as timeout errors will name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    pub(crate) location: &'static Location<'static>,
    /// What it is for, if its line would say less.
    pub(crate) label: Option<&'static str>,
    pub(crate) task: Option<TaskId>,
}

#[derive(Debug)]
struct Slot {
    stage: Stage,
    since: Time,
    opened: Time,
    id: ConnectionId,
    caller: Option<Caller>,
    leak_reported: bool,
    /// Whether the connection was lent before another one was found broken: it may be broken too.
    suspect: bool,
    shares: u32,
    /// When a connection that is shared was last checked.
    checked: Time,
    /// Of a share, the slot of its connection.
    member: u32,
}

/// All slots. Grows to the limit and never shrinks: a slot takes some dozens of bytes.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    counts: [u32; STAGES],
    /// What is being opened, and since when, in that order.
    connecting: Vec<(u32, Time)>,
    /// What is with the maintenance task, by when it came there.
    resetting: BTreeSet<(Time, u32)>,
    /// When the oldest loan not yet reported as a leak began. May be earlier, if that one has
    /// ended.
    oldest_unreported: Time,
    suspects: u32,
    /// How many connections have shares that are lent.
    shared: u32,
    last_id: u64,
}

impl Slots {
    pub(crate) fn new() -> Self {
        Self { oldest_unreported: Time::NEVER, ..Self::default() }
    }

    pub(crate) fn count(&self, stage: Stage) -> u32 {
        self.counts.get(stage as usize).copied().unwrap_or(0)
    }

    /// When the latest of the present loans began.
    pub(crate) fn last_loan(&self) -> Option<Time> {
        self.slots.iter().filter(|slot| slot.stage == Stage::InUse).map(|slot| slot.since).max()
    }

    /// How many slots are taken by connections.
    pub(crate) fn used(&self) -> u32 {
        let used = self.slots.len().saturating_sub(self.free.len());
        u32::try_from(used).unwrap_or(u32::MAX).saturating_sub(self.count(Stage::Share))
    }

    /// How many connections exist, those being closed included.
    pub(crate) fn open(&self) -> u32 {
        let not_ours = self.count(Stage::Connecting).saturating_add(self.count(Stage::Reserved));
        self.used().saturating_sub(not_ours)
    }

    /// How many connections exist that are not being closed.
    pub(crate) fn alive(&self) -> u32 {
        self.open().saturating_sub(self.count(Stage::Closing))
    }

    /// Takes a free slot for a connection that is about to be opened.
    pub(crate) fn take(&mut self, now: Time) -> (u32, ConnectionId) {
        self.last_id = self.last_id.saturating_add(1);
        let id = ConnectionId::new(self.last_id);
        let slot = self.find_free(id, now);
        self.shift(slot, Stage::Connecting, now);
        (slot, id)
    }

    /// Finds a free slot and gives it this connection number.
    fn find_free(&mut self, id: ConnectionId, now: Time) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            self.slots.push(Slot {
                stage: Stage::Free,
                since: now,
                opened: now,
                id,
                caller: None,
                leak_reported: false,
                suspect: false,
                shares: 0,
                checked: now,
                member: slot,
            });
            let [free, ..] = &mut self.counts;
            *free = free.saturating_add(1);
            slot
        });
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.id = id;
        }
        slot
    }

    /// Moves a slot to another stage, and clears what was known of a loan.
    pub(crate) fn shift(&mut self, slot: u32, stage: Stage, now: Time) {
        let Some(entry) = self.slots.get_mut(slot as usize) else {
            debug_assert!(false, "slot {slot} does not exist");
            return;
        };
        let before = mem::replace(&mut entry.stage, stage);
        let began = mem::replace(&mut entry.since, now);
        debug_assert!(
            before != Stage::Free || matches!(stage, Stage::Connecting | Stage::Share),
            "a free slot can only be connected or shared"
        );
        (entry.caller, entry.leak_reported) = (None, false);
        self.suspects = self.suspects.saturating_sub(u32::from(mem::take(&mut entry.suspect)));
        self.shared = self.shared.saturating_sub(u32::from(mem::take(&mut entry.shares) > 0));
        match before {
            Stage::Connecting => {
                entry.opened = now;
                self.connecting.retain(|(other, _)| *other != slot);
            }
            Stage::Resetting => {
                self.resetting.remove(&(began, slot));
            }
            _ => {}
        }
        match stage {
            Stage::Free => self.free.push(slot),
            Stage::Connecting => self.connecting.push((slot, now)),
            Stage::Resetting => {
                self.resetting.insert((now, slot));
            }
            // The fast paths lend only where leaks are not reported.
            Stage::InUse | Stage::Share => {
                self.oldest_unreported = self.oldest_unreported.min(now);
            }
            _ => {}
        }
        self.recount(before, stage);
    }

    /// `shift` for the fast paths, which know both stages and that nothing else changes. Without it
    /// `uncontended` takes 20 % more instructions.
    #[inline]
    pub(crate) fn shift_known(
        &mut self,
        slot: u32,
        before: Stage,
        after: Stage,
        caller: Option<Caller>,
        now: Time,
    ) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        debug_assert_eq!(entry.stage, before, "a fast path knows the stage");
        (entry.stage, entry.since, entry.caller) = (after, now, caller);
        entry.leak_reported = false;
        self.recount(before, after);
    }

    /// Counts a slot that has gone from one stage to another.
    #[inline]
    fn recount(&mut self, before: Stage, after: Stage) {
        if let Some(count) = self.counts.get_mut(before as usize) {
            *count = count.wrapping_sub(1);
        }
        if let Some(count) = self.counts.get_mut(after as usize) {
            *count = count.wrapping_add(1);
        }
    }

    /// How many connects hang, and when the next one will. The oldest does after `threshold`, each
    /// further one after twice the time of the one before, so that a server that never answers is
    /// not asked ever more often.
    pub(crate) fn hanging(&self, threshold: Duration, now: Time) -> (u32, Time) {
        let (mut hanging, mut threshold) = (0_u32, threshold);
        for (_, since) in &self.connecting {
            if now.since(*since) < threshold {
                return (hanging, since.after(threshold));
            }
            hanging = hanging.saturating_add(1);
            threshold = threshold.saturating_mul(2);
        }
        (hanging, Time::NEVER)
    }

    /// Lends the connection in a slot. Without a caller it has no holder.
    pub(crate) fn lend(&mut self, slot: u32, caller: Option<Caller>, now: Time) {
        self.shift(slot, Stage::InUse, now);
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.caller = caller;
            if caller.is_none() {
                entry.checked = now;
            }
        }
    }

    /// Lends a share of the connection in a slot; returns the slot of the share.
    pub(crate) fn lend_share(&mut self, member: u32, caller: Caller, now: Time) -> u32 {
        let mut id = ConnectionId::new(0);
        if let Some(entry) = self.slots.get_mut(member as usize) {
            debug_assert_eq!(entry.stage, Stage::InUse, "only what is lent is shared");
            id = entry.id;
            self.shared = self.shared.saturating_add(u32::from(entry.shares == 0));
            entry.shares = entry.shares.saturating_add(1);
        }
        let slot = self.find_free(id, now);
        self.shift(slot, Stage::Share, now);
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            (entry.caller, entry.member) = (Some(caller), member);
        }
        slot
    }

    pub(crate) fn end_share(&mut self, slot: u32) {
        let share = self.slots.get(slot as usize).filter(|entry| entry.stage == Stage::Share);
        let Some(&Slot { id, member, since, .. }) = share else {
            debug_assert!(false, "slot {slot} has no share");
            return;
        };
        self.shift(slot, Stage::Free, since);
        let shares = self.slots.get_mut(member as usize).filter(|entry| entry.id == id);
        if let Some(entry) = shares.filter(|entry| entry.shares > 0) {
            entry.shares = entry.shares.saturating_sub(1);
            self.shared = self.shared.saturating_sub(u32::from(entry.shares == 0));
        }
    }

    /// Whether a shared connection was not checked for this many nanoseconds. If so, it counts as
    /// checked from now on.
    pub(crate) fn check_due(&mut self, member: u32, interval: u64, now: Time) -> bool {
        let Some(entry) = self.slots.get_mut(member as usize) else { return false };
        let is_due = now.nanos_since(entry.checked) >= interval;
        if is_due {
            entry.checked = now;
        }
        is_due
    }

    /// How many connections in use have no shares that are lent.
    pub(crate) fn unshared(&self) -> u32 {
        self.count(Stage::InUse).saturating_sub(self.shared)
    }

    /// Marks loans of connections opened at `before` or earlier as suspect.
    pub(crate) fn suspect_loans(&mut self, before: Time) {
        for entry in &mut self.slots {
            if entry.stage == Stage::InUse
                && entry.opened <= before
                && !mem::replace(&mut entry.suspect, true)
            {
                self.suspects = self.suspects.saturating_add(1);
            }
        }
    }

    pub(crate) fn is_suspect(&self, slot: u32) -> bool {
        self.suspects > 0 && self.slots.get(slot as usize).is_some_and(|entry| entry.suspect)
    }

    pub(crate) fn has_suspects(&self) -> bool {
        self.suspects > 0
    }

    /// When the connection in a slot was lent, or came where it is.
    pub(crate) fn since(&self, slot: u32) -> Time {
        self.slots.get(slot as usize).map_or(Time::ZERO, |entry| entry.since)
    }

    /// The starts of resets and validations under way, the latest first.
    pub(crate) fn resetting_since(&self) -> impl Iterator<Item = Time> {
        self.resetting.iter().rev().map(|(since, _)| *since)
    }

    pub(crate) fn holders(&self, now: Time) -> Vec<Holder> {
        let mut holders: Vec<Holder> =
            self.slots.iter().filter_map(|entry| entry.holder(now)).collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        holders
    }

    pub(crate) fn holds(&self, task: TaskId) -> bool {
        let is_theirs = |caller: &Caller| caller.task == Some(task);
        self.slots.iter().any(|entry| {
            entry.stage == Stage::InUse && entry.caller.as_ref().is_some_and(is_theirs)
        })
    }

    /// Marks holders since `deadline` or before as reported, and returns the new ones.
    pub(crate) fn leaks(&mut self, deadline: Time, now: Time) -> Vec<Holder> {
        let mut leaks = Vec::new();
        if self.oldest_unreported > deadline {
            return leaks;
        }
        self.oldest_unreported = Time::NEVER;
        for entry in &mut self.slots {
            note_visit();
            let Some(holder) = entry.holder(now).filter(|_| !entry.leak_reported) else { continue };
            if entry.since <= deadline {
                entry.leak_reported = true;
                leaks.push(holder);
            } else {
                self.oldest_unreported = self.oldest_unreported.min(entry.since);
            }
        }
        leaks
    }

    /// When the oldest loan not yet reported as a leak began, or earlier.
    pub(crate) fn oldest_unreported(&self) -> Time {
        self.oldest_unreported
    }

    #[cfg(debug_assertions)]
    pub(crate) fn check(&self) {
        for (stage, count) in self.counts.iter().enumerate() {
            let entries = self.slots.iter().filter(|entry| entry.stage as usize == stage);
            debug_assert_eq!(entries.count(), *count as usize, "the counts differ from the slots");
        }
        let shared = self.slots.iter().filter(|entry| entry.shares > 0).count();
        debug_assert_eq!(shared, self.shared as usize, "connections with shares are miscounted");
    }
}

impl Slot {
    fn holder(&self, now: Time) -> Option<Holder> {
        if !matches!(self.stage, Stage::InUse | Stage::Share) {
            return None;
        }
        let caller = self.caller?;
        let mut holder = Holder::new(self.id, caller.location, now.since(self.since));
        holder.label = caller.label;
        Some(holder)
    }
}
