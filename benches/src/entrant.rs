//! The pools of the race, by name.

use crate::competitor::{Competitor, Effort, Figure, Work};
use crate::gate;
use crate::pools::{Baseline, Bb8, Deadpool, Metered, Millpond, Mobc, Observed, R2d2, Sqlx};
use std::sync::Arc;

/// A pool in the race.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrant {
    /// millpond with default settings.
    Millpond,
    /// millpond with an observer that counts every event; its rows end in `_observed`.
    Observed,
    /// millpond with metrics; its rows end in `_metrics`.
    Metered,
    /// `sqlx::Pool`.
    Sqlx,
    /// deadpool.
    Deadpool,
    /// bb8.
    Bb8,
    /// mobc.
    Mobc,
    /// r2d2, which blocks.
    R2d2,
    /// No pool: a semaphore and a queue.
    Baseline,
}

impl Entrant {
    /// All entrants, in the order of the tables.
    pub const ALL: [Self; 9] = [
        Self::Millpond,
        Self::Observed,
        Self::Metered,
        Self::Sqlx,
        Self::Deadpool,
        Self::Bb8,
        Self::Mobc,
        Self::R2d2,
        Self::Baseline,
    ];

    /// Returns the pool's name in the results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Millpond => Millpond::NAME,
            Self::Observed => Observed::NAME,
            Self::Metered => Metered::NAME,
            Self::Sqlx => Sqlx::NAME,
            Self::Deadpool => Deadpool::NAME,
            Self::Bb8 => Bb8::NAME,
            Self::Mobc => Mobc::NAME,
            Self::R2d2 => R2d2::NAME,
            Self::Baseline => <Arc<Baseline>>::NAME,
        }
    }

    /// Returns true if the pool has the settings that its name stands for.
    pub fn is_default(self) -> bool {
        !matches!(self, Self::Observed | Self::Metered)
    }

    /// Performs a measurement once.
    pub fn does<W: Work>(self, work: &W, effort: &Effort) -> Vec<Figure> {
        match self {
            Self::Millpond => work.run::<Millpond>(effort),
            Self::Observed => work.run::<Observed>(effort),
            Self::Metered => work.run::<Metered>(effort),
            Self::Sqlx => work.run::<Sqlx>(effort),
            Self::Deadpool => work.run::<Deadpool>(effort),
            Self::Bb8 => work.run::<Bb8>(effort),
            Self::Mobc => work.run::<Mobc>(effort),
            Self::R2d2 => work.run::<R2d2>(effort),
            Self::Baseline => work.run::<Arc<Baseline>>(effort),
        }
    }

    /// Checks that the pool works correctly, so that it may be timed.
    ///
    /// # Errors
    ///
    /// Returns what the pool did wrong.
    pub fn passes_the_gate(self) -> Result<(), String> {
        match self {
            Self::Millpond => gate::pass::<Millpond>(),
            Self::Observed => gate::pass::<Observed>(),
            Self::Metered => gate::pass::<Metered>(),
            Self::Sqlx => gate::pass::<Sqlx>(),
            Self::Deadpool => gate::pass::<Deadpool>(),
            Self::Bb8 => gate::pass::<Bb8>(),
            Self::Mobc => gate::pass::<Mobc>(),
            Self::R2d2 => gate::pass::<R2d2>(),
            Self::Baseline => gate::pass::<Arc<Baseline>>(),
        }
    }
}
