//! The users of a world: what each of them is doing, and a fair draw among those who do the same.

use super::desk::{Bell, Wire};
use super::plan::Fate;
use crate::ledger::Claimant;
use crate::ledger::Grant;
use crate::ledger::PooledConnection;
use crate::ledger::Ticket;
use crate::rt::Time;
use fastrand::Rng;
use std::mem;
use std::sync::Arc;

/// What a user is doing.
#[derive(Debug)]
pub(super) enum State {
    Away,
    Waiting(Ticket<Grant<Wire>>, Claimant),
    Validating(Box<Validation>),
    Holding(PooledConnection<Wire>),
}

/// A connection being looked at for the one who is about to get it.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) held: PooledConnection<Wire>,
    pub(super) claimant: Claimant,
    pub(super) fate: Fate,
    pub(super) ping: bool,
    /// When its limit is reached.
    pub(super) ends: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Away,
    Waiting,
    Validating,
    Holding,
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) state: State,
    pub(super) bell: Arc<Bell>,
    /// When the ledger granted it something, until it looks.
    pub(super) granted: Option<Time>,
    /// Whether the deadline thread has woken it to set its own timer.
    pub(super) has_timer: bool,
    /// Whether it has been woken and has not come yet.
    pub(super) woken: bool,
    /// Its index in the list of its kind.
    position: usize,
}

/// All users, by what they do.
#[derive(Debug)]
pub(super) struct Users {
    pub(super) all: Vec<User>,
    lists: [Vec<u32>; 4],
}

impl Users {
    pub(super) fn new(count: u32) -> Self {
        let user = |who| User {
            state: State::Away,
            bell: Bell::of(who),
            granted: None,
            has_timer: false,
            woken: false,
            position: who as usize,
        };
        Self {
            all: (0..count).map(user).collect(),
            lists: [(0..count).collect(), vec![], vec![], vec![]],
        }
    }

    pub(super) fn get(&mut self, who: u32) -> &mut User {
        &mut self.all[who as usize]
    }

    /// How many wakers there are of all users. In a crowd nobody counts them.
    pub(super) fn wakers(&self) -> usize {
        let counted = self.all.iter().take(if self.all.len() <= 60 { 60 } else { 0 });
        counted.map(|user| Arc::strong_count(&user.bell)).sum()
    }

    pub(super) fn count(&self, kind: Kind) -> u32 {
        self.lists[kind as usize].len() as u32
    }

    pub(super) fn list(&self, kind: Kind) -> &[u32] {
        &self.lists[kind as usize]
    }

    /// One of those who do this.
    pub(super) fn draw(&self, kind: Kind, dice: &mut Rng) -> Option<u32> {
        let list = &self.lists[kind as usize];
        (!list.is_empty()).then(|| list[dice.usize(0..list.len())])
    }

    /// Takes the state out of a user, who is away from then on.
    pub(super) fn take(&mut self, who: u32) -> State {
        self.put(who, State::Away)
    }

    /// Gives a user another state; returns the one before.
    pub(super) fn put(&mut self, who: u32, state: State) -> State {
        let (to, user) = (state.kind(), &mut self.all[who as usize]);
        let before = mem::replace(&mut user.state, state);
        let (from, position) = (before.kind(), user.position);
        if from != to {
            user.position = self.lists[to as usize].len();
            self.lists[to as usize].push(who);
            self.lists[from as usize].swap_remove(position);
            if let Some(&moved) = self.lists[from as usize].get(position) {
                self.all[moved as usize].position = position;
            }
        }
        before
    }
}

impl State {
    fn kind(&self) -> Kind {
        match self {
            Self::Away => Kind::Away,
            Self::Waiting(..) => Kind::Waiting,
            Self::Validating(_) => Kind::Validating,
            Self::Holding(_) => Kind::Holding,
        }
    }
}
