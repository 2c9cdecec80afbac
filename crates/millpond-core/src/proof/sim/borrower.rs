//! What borrowers do: give back, in whatever state. It does with the ledger what
//! `engine/checkin.rs` does with it.

use super::desk::Phase;
use super::plan::Fate;
use super::users::State;
use super::world::World;
use crate::CloseReason;
use crate::ledger::Verdict;

impl World {
    /// A borrower gives its connection back, in whatever state.
    pub(super) fn give_back(&mut self, who: u32) {
        let State::Holding(mut held) = self.users.take(who) else { return };
        self.known.note_return(&held);
        let fate = self.plan.fate(&mut self.dice, self.now);
        let soiled = self.dice.u32(0..10) == 0;
        held.inner.conn.phase = if soiled { Phase::Soiled } else { Phase::Ready };
        held.inner.conn.heard = self.now;
        if fate == Fate::Permanent {
            let meta = held.inner.meta;
            self.ledger.recycle_cell(&mut held);
            drop(held);
            self.known.detached += 1;
            return self.change(|ledger, now| ledger.detached(&meta, now));
        }
        let verdict = match fate {
            Fate::Well if soiled => Verdict::Reset,
            Fate::Well => Verdict::Keep,
            _ => {
                self.faults += 1;
                held.inner.conn.phase = Phase::Doomed;
                if fate == Fate::Transient {
                    self.known.note_suspicion(self.now);
                    Verdict::Close(CloseReason::Broken)
                } else {
                    Verdict::Close(CloseReason::Unverified)
                }
            }
        };
        if verdict == Verdict::Keep && !self.plan.checkin_hooks {
            let considered = self.change(|ledger, now| ledger.put_back_fresh(held, now));
            let Some(back) = considered else { return };
            held = back;
        }
        self.change(|ledger, now| ledger.returned(held, verdict, now));
    }
}
