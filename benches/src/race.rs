//! The race: every pool performs a measurement in turn, round by round, so that disturbances of the
//! machine affect all pools equally.

use crate::competitor::{Effort, Figure, Work};
use crate::entrant::Entrant;
use std::time::Instant;

/// A row of the results: the values of one pool's rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    row: String,
    pool: &'static str,
    unit: &'static str,
    values: Vec<f64>,
}

/// Runs a measurement over these pools, and prints the results.
pub fn race<W: Work>(work: &W, entrants: &[Entrant], effort: &Effort) {
    let began = Instant::now();
    let rounds = work.rounds(effort);
    let mut outcomes: Vec<Outcome> = Vec::new();
    for round in 0..rounds {
        // The order changes, so that no pool always runs after the same other one.
        let first = (round as usize).checked_rem(entrants.len()).unwrap_or(0);
        for entrant in entrants.iter().cycle().skip(first).take(entrants.len()) {
            for figure in entrant.does(work, effort) {
                enter(&mut outcomes, entrant.name(), figure);
            }
        }
    }
    let place =
        |outcome: &Outcome| entrants.iter().position(|entrant| entrant.name() == outcome.pool);
    outcomes.sort_by_key(place);
    for outcome in &outcomes {
        outcome.print();
    }
    eprintln!("rivals: {} ({rounds} rounds, {:.1} s)", work.name(), began.elapsed().as_secs_f64());
}

fn enter(outcomes: &mut Vec<Outcome>, pool: &'static str, figure: Figure) {
    let known =
        outcomes.iter_mut().find(|outcome| outcome.row == figure.row && outcome.pool == pool);
    match known {
        Some(outcome) => outcome.values.push(figure.value),
        None => outcomes.push(Outcome {
            row: figure.row,
            pool,
            unit: figure.unit,
            values: vec![figure.value],
        }),
    }
}

impl Outcome {
    /// Creates the result of the gate: whether a pool may be timed.
    pub fn of_the_gate(pool: &'static str, passed: bool) -> Self {
        Self {
            row: "gate".to_owned(),
            pool,
            unit: "passed",
            values: vec![f64::from(u8::from(passed))],
        }
    }

    /// Creates a result from the rounds of one pool, for a race that [`race`] does not run.
    pub fn of_rounds(row: &str, pool: &'static str, unit: &'static str, values: Vec<f64>) -> Self {
        Self { row: row.to_owned(), pool, unit, values }
    }

    /// Prints the result as a line of JSON.
    pub fn print(&self) {
        let (low, median, high) = spread(&self.values);
        // JSON has no other value for a missing number.
        let number =
            |value: f64| if value.is_finite() { value.to_string() } else { "null".to_owned() };
        let [median, low, high] = [median, low, high].map(number);
        let Self { row, pool, unit, .. } = self;
        print!(r#"{{"row":"{row}","pool":"{pool}","median":{median},"#);
        println!(r#""unit":"{unit}","low":{low},"high":{high}}}"#);
    }
}

/// Returns the lowest, the median and the highest value.
pub fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let last = sorted.len().saturating_sub(1);
    (at(0), f64::midpoint(at(last / 2), at(sorted.len() / 2)), at(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_rounds_is_the_mean_of_the_middle_two() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[5.0]), (5.0, 5.0, 5.0));
    }
}
