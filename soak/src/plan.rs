//! What a seed determines: the operation of a user, the polls after which it is dropped, and the
//! fate of a connection.

use fastrand::Rng;
use millpond_testkit::{Direction, Flow, NetworkFault};

/// An operation of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A query with an argument; each variant has a different text, which the connection may have
    /// to prepare.
    Ask(u8),
    /// A query for many rows.
    Rows,
    /// Begins a transaction and leaves it open.
    Begin,
    /// A script that begins a transaction without the driver noticing, and leaves it open.
    Script,
}

/// One turn of a user.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    pub action: Action,
    /// The number of polls after which the action is dropped; `None` lets it complete.
    pub polls: Option<usize>,
}

impl Turn {
    pub fn draw(dice: &mut Rng) -> Self {
        let action = match dice.u8(0..8) {
            0..=3 => Action::Ask(dice.u8(0..40)),
            4 | 5 => Action::Rows,
            6 => Action::Begin,
            _ => Action::Script,
        };
        let polls = (dice.u8(0..8) > 0).then(|| dice.usize(1..=6));
        Self { action, polls }
    }
}

/// Returns the flow of one direction of the `number`th connection. Most connections work, or there
/// would be little to test: one in eight is cut or reset after some thousand bytes, and one in a
/// hundred falls silent.
pub fn flow(seed: u64, number: u64, direction: Direction) -> Flow {
    let mut dice = Rng::with_seed(seed ^ (number << 1) ^ direction as u64);
    let flow =
        if dice.bool() { Flow::free() } else { Flow::free().in_pieces_of(dice.usize(1..=200)) };
    let bytes = dice.u64(300..20_000);
    match dice.u8(0..200) {
        0..=12 => flow.then(bytes, NetworkFault::Cut),
        13..=24 => flow.then(bytes, NetworkFault::Reset),
        25 => flow.then(bytes, NetworkFault::Swallow),
        _ => flow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again() {
        let draw = |seed| {
            let mut dice = Rng::with_seed(seed);
            let turns: Vec<_> = (0..50)
                .map(|_| Turn::draw(&mut dice))
                .map(|turn| (turn.action, turn.polls))
                .collect();
            let flows: Vec<_> =
                (0..50).map(|number| flow(seed, number, Direction::ToClient)).collect();
            (turns, flows)
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
