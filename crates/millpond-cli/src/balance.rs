//! Checks that the counts add up: within each pool's status, and between the pool and the observer.

use crate::observer::Counts;
use millpond::Status;
use serde_json::{Value, json};

/// The counts of one pool at the end of the demo, as the pool and as the observer have them.
#[derive(Debug, Clone)]
pub struct Account {
    /// The pool's name in the report.
    pub title: &'static str,
    /// The pool's own counts.
    pub status: Status,
    /// The observer's counts.
    pub counts: Counts,
}

/// An equation that must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The equation with its numbers.
    pub text: String,
    /// True if the equation holds.
    pub holds: bool,
}

impl Account {
    /// Returns the two equations of the pool's own counts, and the comparison with the observer's.
    pub fn checks(&self) -> Vec<Check> {
        let (totals, counts, title) = (&self.status.totals, &self.counts, self.title);
        let open = u64::from(self.status.open);
        let seen = [
            counts.opened,
            counts.closed_in_all(),
            counts.detached,
            counts.ok(),
            counts.timed_out,
            counts.cancelled,
            counts.failed,
        ];
        let reported = [
            totals.created,
            totals.closed,
            totals.detached,
            totals.succeeded,
            totals.timed_out,
            totals.cancelled,
            totals.failed,
        ];
        vec![
            Check {
                text: format!(
                    "{title}: created {} = closed {} + detached {} + open {open}",
                    totals.created, totals.closed, totals.detached
                ),
                holds: totals.created == totals.closed + totals.detached + open,
            },
            Check {
                text: format!(
                    "{title}: acquires {} = ok {} + timed out {} + cancelled {} + failed {}",
                    totals.acquires,
                    totals.succeeded,
                    totals.timed_out,
                    totals.cancelled,
                    totals.failed
                ),
                holds: totals.acquires
                    == totals.succeeded + totals.timed_out + totals.cancelled + totals.failed,
            },
            Check {
                text: match seen == reported {
                    true => format!(
                        "{title}: an observer that counted the pool's events has the same numbers"
                    ),
                    false => {
                        format!("{title}: an observer counted {seen:?}, the pool {reported:?}")
                    }
                },
                holds: seen == reported,
            },
        ]
    }

    /// Returns the most connections beyond `pool_size` that were open at once.
    pub fn overflow_peak(&self) -> u32 {
        self.status.totals.peak.saturating_sub(self.status.pool_size)
    }

    /// Returns the counts as JSON, with times in microseconds.
    pub fn to_json(&self) -> Value {
        let (totals, waits) = (&self.status.totals, &self.counts.waits);
        let micros = |time: std::time::Duration| time.as_nanos() as f64 / 1e3;
        json!({
            "acquires": totals.acquires,
            "ok": totals.succeeded,
            "timed_out": totals.timed_out,
            "cancelled": totals.cancelled,
            "failed": totals.failed,
            "wait_p50_us": micros(waits.quantile(500)),
            "wait_p99_us": micros(waits.quantile(990)),
            "wait_max_us": micros(waits.max()),
            "opened": totals.created,
            "closed": totals.closed,
            "closed_by_reason": self.counts.closed,
            "detached": totals.detached,
            "open": self.status.open,
            "in_use": self.status.in_use,
            "pool_size": self.status.pool_size,
            "max_overflow": self.status.max_overflow,
            "peak": totals.peak,
            "overflow_peak": self.overflow_peak(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn account() -> Account {
        let (mut status, mut counts) = (Status::default(), Counts::default());
        status.open = 1;
        (status.totals.created, status.totals.closed) = (3, 2);
        (status.totals.acquires, status.totals.succeeded, status.totals.timed_out) = (2, 1, 1);
        counts.opened = 3;
        counts.closed.insert("overflow", 2);
        counts.waits.record(Duration::from_micros(1));
        counts.timed_out = 1;
        Account { title: "pool", status, counts }
    }

    #[test]
    fn equal_counts_balance() {
        assert!(account().checks().iter().all(|check| check.holds));
    }

    #[test]
    fn a_count_that_is_off_by_one_is_found_anywhere() {
        let changes: [fn(&mut Account); 8] = [
            |account| account.status.totals.created += 1,
            |account| account.status.totals.closed -= 1,
            |account| account.status.open = 0,
            |account| account.status.totals.acquires += 1,
            |account| account.status.totals.cancelled += 1,
            |account| account.counts.opened += 1,
            |account| account.counts.failed += 1,
            |account| account.counts.waits.record(Duration::ZERO),
        ];
        for (n, change) in changes.iter().enumerate() {
            let mut account = account();
            change(&mut account);
            assert!(account.checks().iter().any(|check| !check.holds), "change {n}");
        }
    }
}
