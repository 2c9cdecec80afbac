//! The goals for millpond's results, absolute and compared with other pools.

use crate::results::{Results, short};

/// The goal for one row.
struct Goal {
    row: &'static str,
    limit: Limit,
    /// The pool whose value is judged.
    pool: &'static str,
    /// If set, the limit is a multiple of this row of this pool; otherwise it is the value itself.
    times: Option<(&'static str, &'static str)>,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

use Limit::{AtLeast, AtMost};

const GOALS: &[Goal] = &[
    itself("gate", AtLeast(1.0)),
    beside("uncontended", AtMost(0.36), "deadpool"),
    beside("uncontended", AtMost(0.35), "bb8"),
    beside("uncontended", AtMost(0.02), "sqlx"),
    beside("uncontended", AtMost(0.85), "floor"),
    beside("uncontended_core2", AtMost(0.36), "deadpool"),
    beside("uncontended_core2", AtMost(0.35), "bb8"),
    beside("uncontended_core2", AtMost(0.02), "sqlx"),
    beside("uncontended_core2", AtMost(0.85), "floor"),
    against("uncontended_observed", AtMost(1.0), ("uncontended", "deadpool")),
    against("uncontended_core2_observed", AtMost(1.0), ("uncontended_core2", "deadpool")),
    against("uncontended_metrics", AtMost(0.6), ("uncontended", "deadpool")),
    against("uncontended_core2_metrics", AtMost(0.6), ("uncontended_core2", "deadpool")),
    itself("allocs_uncontended", AtMost(0.0)),
    itself("allocs_uncontended_metrics", AtMost(0.0)),
    beside("hold64", AtLeast(1.3), "deadpool"),
    beside("hold64", AtLeast(1.5), "bb8"),
    beside("hold256", AtLeast(1.3), "deadpool"),
    beside("hold256", AtLeast(1.5), "bb8"),
    beside("hold64_core1", AtLeast(1.3), "deadpool"),
    beside("hold64_core1", AtLeast(1.5), "bb8"),
    beside("hold256_core1", AtLeast(1.3), "deadpool"),
    beside("hold256_core1", AtLeast(1.5), "bb8"),
    beside("hold64_p999", AtMost(1.0), "deadpool"),
    beside("hold256_p999", AtMost(1.0), "deadpool"),
    beside("hold64_core1_p999", AtMost(1.0), "deadpool"),
    beside("hold256_core1_p999", AtMost(1.0), "deadpool"),
    itself("fairness64", AtMost(1.2)),
    itself("fairness256", AtMost(1.2)),
    itself("fairness64_core1", AtMost(1.2)),
    itself("fairness256_core1", AtMost(1.2)),
    beside("threads2", AtLeast(1.5), "deadpool"),
    itself("allocs_wait", AtMost(1.0)),
    itself("growth_size", AtMost(1.3)),
    itself("growth_waiters", AtMost(1.3)),
    // In nanoseconds. A cache miss costs hundreds of them; a scan of 100,000 waiters would cost
    // 50,000 or more.
    itself("cancel_waiter", AtMost(10_000.0)),
    // The grown queue may stay; one byte per cancelled acquire would be a megabyte.
    itself("cancelled_left", AtMost(4096.0)),
    // Five idle connections plus `max_connecting`, which is 4 by default.
    itself("spike", AtMost(9.0)),
    itself("spike_one", AtMost(6.0)),
    beside("pg_select64", AtLeast(2.2), "sqlx"),
    beside("pg_select64", AtLeast(1.0), "deadpool"),
    beside("pg_select10", AtLeast(0.95), "floor"),
    beside("redis_get64", AtLeast(1.5), "deadpool"),
    beside("redis_get64_p999", AtMost(1.0), "deadpool"),
    // Over fred, the lease's work comes on top of fred's own; so the goal applies to the manager
    // over redis-rs.
    Goal { pool: "millpond-rs", ..beside("redis_get10", AtLeast(0.95), "fred") },
    Goal { pool: "millpond-rs", ..beside("redis_shared64", AtLeast(0.95), "fred") },
    // These rows only have to exist.
    itself("pg_raw64", AtLeast(1.0)),
    itself("sqlite_read64", AtLeast(1.0)),
    itself("bytes_idle", AtLeast(1.0)),
    itself("bytes_waiter", AtLeast(1.0)),
];

const fn itself(row: &'static str, limit: Limit) -> Goal {
    Goal { row, limit, pool: "millpond", times: None }
}

const fn beside(row: &'static str, limit: Limit, pool: &'static str) -> Goal {
    Goal { row, limit, pool: "millpond", times: Some((row, pool)) }
}

const fn against(row: &'static str, limit: Limit, times: (&'static str, &'static str)) -> Goal {
    Goal { row, limit, pool: "millpond", times: Some(times) }
}

/// Returns a line for each goal, and true if all are reached. A goal without a measurement is
/// missed.
pub fn judge(results: &Results) -> (String, bool) {
    let verdicts: Vec<(String, bool)> = GOALS.iter().map(|goal| goal.judge(results)).collect();
    let missed = verdicts.iter().filter(|(_, reached)| !reached).count();
    let mut report: Vec<String> = verdicts.into_iter().map(|(line, _)| line).collect();
    report.push(format!("{} goals reached, {missed} missed", GOALS.len() - missed));
    (report.join("\n"), missed == 0)
}

impl Goal {
    fn judge(&self, results: &Results) -> (String, bool) {
        let median = |row: &str, pool: &str| results.find(row, pool).map(|line| line.median);
        let value = median(self.row, self.pool);
        let base = self.times.map_or(Some(1.0), |(row, pool)| median(row, pool));
        let ratio = value.zip(base).map(|(value, base)| value / base);
        let (sign, bound, reached) = match self.limit {
            AtMost(most) => ("<=", most, ratio.is_some_and(|ratio| ratio <= most)),
            AtLeast(least) => (">=", least, ratio.is_some_and(|ratio| ratio >= least)),
        };
        let verdict = if reached { "reached" } else { "MISSED " };
        let found = ratio.map_or_else(|| "not measured".to_owned(), short);
        let times = match self.times {
            None => String::new(),
            Some((row, pool)) if row == self.row => format!(" x {pool}"),
            Some((row, pool)) => format!(" x {pool}'s {row}"),
        };
        let whose =
            if self.pool == "millpond" { String::new() } else { format!(" by {}", self.pool) };
        (format!("{verdict}  {}{whose}: {found}{times} (wanted {sign} {bound})", self.row), reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Line;

    fn results(lines: &[(&str, &str, f64)]) -> Results {
        let mut results = Results::default();
        for &(row, pool, median) in lines {
            results.add(Line::of(row, pool, [median; 3]));
        }
        results
    }

    #[test]
    fn a_ratio_is_judged_by_its_limit() {
        let goal = beside("uncontended", AtMost(0.36), "deadpool");
        let found =
            results(&[("uncontended", "millpond", 80.0), ("uncontended", "deadpool", 250.0)]);
        assert_eq!(
            goal.judge(&found),
            ("reached  uncontended: 0.32 x deadpool (wanted <= 0.36)".to_owned(), true)
        );
        let found =
            results(&[("uncontended", "millpond", 100.0), ("uncontended", "deadpool", 250.0)]);
        assert!(!goal.judge(&found).1);
    }

    #[test]
    fn a_goal_without_a_measurement_is_missed() {
        let (line, reached) = itself("growth_size", AtMost(1.3)).judge(&Results::default());
        assert!(line.contains("not measured") && !reached);
        assert!(!judge(&Results::default()).1);
    }
}
