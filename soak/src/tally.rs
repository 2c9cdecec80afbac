//! What happened, as counts and as one line.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counted by all users at once.
#[derive(Debug, Default)]
pub struct Tally {
    pub cuts: Count,
    pub queries: Count,
    pub wrong: Count,
    pub stale: Count,
    pub panics: Count,
    /// Acquires that ended with an error, in a row.
    pub unserved: Count,
}

/// A number that only grows, unless it is set back.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// How a soak ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who was soaked: `postgres`, `postgres by sqlx::Pool`.
    pub name: &'static str,
    /// What a borrower may leave behind: `transactions`.
    pub left: &'static str,
    /// Operations that were dropped before their end.
    pub cuts: u64,
    /// Questions that were answered.
    pub queries: u64,
    /// Questions that got the answer to another one, or none, on a connection that had not failed.
    pub wrong: u64,
    /// Borrowers who found what the last one had left.
    pub stale: u64,
    /// Slots that could not be lent after the faults had ended.
    pub lost: u64,
    /// Panics of the driver in a borrower's hands.
    pub panics: u64,
    /// What else was wrong in the end: books that do not balance, cuts that were never made.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether nothing was violated.
    pub fn is_clean(&self) -> bool {
        self.wrong + self.stale + self.lost == 0 && self.problems.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, left, cuts, queries, wrong, stale, lost, panics, problems } = self;
        write!(
            f,
            "{name}: {cuts} cuts, {queries} queries, {wrong} wrong answers, {stale} stale {left}, \
             {lost} lost places"
        )?;
        if *panics > 0 {
            write!(f, ", {panics} panics of the driver")?;
        }
        for problem in problems {
            write!(f, "; {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_reports_it_and_anything_wrong_is_a_violation() {
        let report = Report {
            name: "postgres",
            left: "transactions",
            cuts: 3,
            queries: 9,
            wrong: 0,
            stale: 0,
            lost: 0,
            panics: 0,
            problems: Vec::new(),
        };
        assert_eq!(
            report.to_string(),
            "postgres: 3 cuts, 9 queries, 0 wrong answers, 0 stale transactions, 0 lost places"
        );
        assert!(report.is_clean());
        assert!(!Report { wrong: 1, ..report.clone() }.is_clean());
        assert!(!Report { stale: 1, ..report.clone() }.is_clean());
        assert!(!Report { lost: 1, ..report.clone() }.is_clean());
        assert!(!Report { problems: vec!["x".to_owned()], ..report }.is_clean());
    }
}
