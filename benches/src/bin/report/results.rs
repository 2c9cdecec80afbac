//! The results: a line for each row and pool, as printed by the programs.

use serde::{Deserialize, Deserializer, Serialize};

/// The result of one pool in one row: the median, the lowest and the highest of the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub row: String,
    pub pool: String,
    #[serde(deserialize_with = "number")]
    pub median: f64,
    pub unit: String,
    #[serde(deserialize_with = "number")]
    pub low: f64,
    #[serde(deserialize_with = "number")]
    pub high: f64,
}

/// Reads a number; `null` means that it could not be determined.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Option::deserialize(from).map(|number| number.unwrap_or(f64::NAN))
}

/// All lines, in the order of their arrival.
#[derive(Debug, Default)]
pub struct Results {
    lines: Vec<Line>,
}

impl Results {
    /// Adds a line from JSON.
    pub fn read(&mut self, line: &str) -> Result<(), String> {
        self.lines.push(
            serde_json::from_str(line)
                .map_err(|e| format!("not a line of results ({e}): {line}"))?,
        );
        Ok(())
    }

    /// Adds a line.
    pub fn add(&mut self, line: Line) {
        self.lines.push(line);
    }

    /// Merges the lines of several runs into one line for each row and pool: the median of the
    /// medians, the lowest and the highest of all.
    pub fn merged(&self) -> Self {
        let mut merged = Self::default();
        for line in &self.lines {
            if merged.find(&line.row, &line.pool).is_none() {
                let same: Vec<_> = self
                    .row(&line.row)
                    .into_iter()
                    .filter(|other| other.pool == line.pool)
                    .collect();
                let low = same.iter().map(|line| line.low).fold(f64::INFINITY, f64::min);
                let high = same.iter().map(|line| line.high).fold(f64::NEG_INFINITY, f64::max);
                let median = middle(same.iter().map(|line| line.median).collect());
                merged.add(Line { median, low, high, ..line.clone() });
            }
        }
        merged
    }

    /// Returns all lines.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Returns the lines of a row.
    pub fn row(&self, row: &str) -> Vec<&Line> {
        self.lines.iter().filter(|line| line.row == row).collect()
    }

    /// Returns the line of one pool in a row.
    pub fn find(&self, row: &str, pool: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.row == row && line.pool == pool)
    }

    /// Returns the pools that failed the gate.
    pub fn failed(&self) -> Vec<String> {
        self.row("gate")
            .into_iter()
            .filter(|line| line.median < 1.0)
            .map(|line| line.pool.clone())
            .collect()
    }
}

/// Returns the median.
pub fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |n: usize| values.get(n).copied().unwrap_or(f64::NAN);
    (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0
}

/// Formats a number with its significant digits.
pub fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if value.is_nan() => "-".to_owned(),
        _ if size >= 1e6 => format!("{:.2} M", value / 1e6),
        _ if size >= 1e4 => format!("{:.0} k", value / 1e3),
        _ if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
impl Line {
    /// Creates a line with the lowest, the median and the highest value.
    pub fn of(row: &str, pool: &str, [low, median, high]: [f64; 3]) -> Self {
        Self {
            row: row.to_owned(),
            pool: pool.to_owned(),
            unit: "ns".to_owned(),
            median,
            low,
            high,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_processes_make_one_line() {
        let mut results = Results::default();
        for median in [3.0, 1.0, 2.0] {
            results.add(Line::of("hold64", "millpond", [median - 0.5, median, median + 0.5]));
        }
        let merged = results.merged();
        assert_eq!(merged.lines(), [Line::of("hold64", "millpond", [0.5, 2.0, 3.5])]);
    }

    #[test]
    fn printed_lines_are_parsed_and_anything_else_is_an_error() {
        let line = Line::of("uncontended", "millpond", [78.0, 79.5, 83.0]);
        let mut results = Results::default();
        results.read(&serde_json::to_string(&line).unwrap()).unwrap();
        results
            .read(r#"{"row":"gate","pool":"b","median":0,"unit":"passed","low":null,"high":0}"#)
            .unwrap();
        assert_eq!(results.find("uncontended", "millpond"), Some(&line));
        assert_eq!(results.failed(), ["b"]);
        assert!(results.read("warning: x").unwrap_err().contains("warning: x"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [1_430_000.0, 15_400.0, 243.4, 79.52, 1.04, 0.0243, 0.0].map(short),
            ["1.43 M", "15 k", "243", "79.5", "1.04", "0.024", "0"]
        );
    }
}
