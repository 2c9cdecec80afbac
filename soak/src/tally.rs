//! The results of a soak, as counts and as one line.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that all users share.
#[derive(Debug, Default)]
pub struct Tally {
    pub cuts: Count,
    pub queries: Count,
    pub wrong: Count,
    pub stale: Count,
    pub panics: Count,
    /// Failed acquires in a row.
    pub unserved: Count,
}

/// A counter that only grows, unless it is reset.
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

/// The results of a soak.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The pool under soak: `postgres`, `postgres by sqlx::Pool`.
    pub name: &'static str,
    /// The kind of state that a borrower may leave behind: `transactions`.
    pub left: &'static str,
    /// Operations that were dropped before they completed.
    pub cuts: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// Queries that got the answer to another query, or none, on a connection that had not failed.
    pub wrong: u64,
    /// Borrowers that found state of the previous one.
    pub stale: u64,
    /// Slots that could not be lent after the faults had ended.
    pub lost: u64,
    /// Panics of the driver while a borrower had the connection.
    pub panics: u64,
    /// Other problems at the end: counts that do not add up, cuts that were never made.
    pub problems: Vec<String>,
}

impl Report {
    /// Returns true if no promise was violated.
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
    fn a_report_is_one_line_and_any_problem_is_a_violation() {
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
