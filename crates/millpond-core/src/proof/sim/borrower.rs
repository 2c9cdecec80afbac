//! What borrowers do: give back, in whatever state. It does with the ledger what
//! `engine/checkin.rs` does with it.

use super::desk::Phase;
use super::plan::Fate;
use super::users::State;
use super::world::World;
use crate::event::CloseReason;

impl World {
    /// A borrower gives its connection back, in whatever state.
    pub(super) fn give_back(&mut self, who: u32) {
        let State::Holding(mut held) = self.users.take(who) else { return };
        self.known.note_return(&held);
        let fate = self.plan.fate(&mut self.dice, self.now);
        let soiled = self.dice.u32(0..10) == 0;
        let plain = !self.plan.checkin_hooks;
        held.inner.conn.phase = if soiled { Phase::Soiled } else { Phase::Ready };
        held.inner.conn.heard = self.now;
        self.ledger.recycle_cell(&mut held);
        if fate == Fate::Well && plain && !soiled {
            let considered = self.change(|ledger, now| ledger.put_back_fresh(held, now));
            let Some(back) = considered else { return };
            held = back;
        }
        (held.inner.meta.idle_since, held.inner.meta.validated_at) = (self.now, self.now);
        let (keeps, slot) = (self.plan.keeps, held.inner.meta.slot);
        match fate {
            Fate::Well if keeps && (soiled || !plain) => {
                self.change(|ledger, now| ledger.send_to_checkin(held, soiled, now))
            }
            Fate::Well => self.change(|ledger, now| ledger.put_back(held, now)),
            Fate::Permanent => {
                drop(held);
                self.known.detached += 1;
                self.change(|ledger, now| ledger.detached(slot, now));
            }
            _ => {
                self.faults += 1;
                held.inner.conn.phase = Phase::Doomed;
                self.change(|ledger, now| ledger.retire(held, CloseReason::Unverified, now));
                if fate == Fate::Transient {
                    self.suspect(self.now);
                }
            }
        }
        self.change(|ledger, _| ledger.update_fast_paths());
    }
}
