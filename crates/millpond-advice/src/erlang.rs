//! Erlang's formulas: how likely a caller waits for one of several connections.
//!
//! The recurrence for B and the relation between B and C are stable for any number of connections,
//! unlike the formulas with factorials. Both are in R. B. Cooper, "Introduction to Queueing Theory"
//! (2nd edition, 1981), chapter 3.

/// Returns the probability that a caller has to wait (Erlang C), for `connections` connections of
/// which `offered` would be in use on average if there were enough.
///
/// Callers arrive at random (Poisson), hold a connection for an exponentially distributed time, and
/// wait as long as it takes. Returns 1 if `offered` is at least `connections`: then the queue
/// grows without end.
///
/// ```
/// use millpond_advice::probability_of_waiting;
///
/// // One connection that is in use for two thirds of the time.
/// assert!((probability_of_waiting(1, 2.0 / 3.0) - 2.0 / 3.0).abs() < 1e-12);
/// ```
pub fn probability_of_waiting(connections: u32, offered: f64) -> f64 {
    if offered <= 0.0 {
        return 0.0;
    }
    let count = f64::from(connections);
    if offered.is_nan() || offered >= count {
        return 1.0;
    }
    let blocked = blocking(connections, offered);
    blocked / (1.0 - offered / count * (1.0 - blocked))
}

/// Returns the probability that all connections are in use where callers do not wait (Erlang B).
fn blocking(connections: u32, offered: f64) -> f64 {
    (1..=connections).fold(1.0, |blocked, count| {
        let blocked = offered * blocked;
        blocked / (f64::from(count) + blocked)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hillier and Lieberman, "Introduction to Operations Research", chapter on queueing theory,
    /// the County Hospital example: 2 arrivals an hour, each served for 20 minutes.
    #[test]
    fn the_probability_is_that_of_the_hospital_with_one_and_with_two_doctors() {
        assert!((probability_of_waiting(1, 2.0 / 3.0) - 0.667).abs() < 5e-4);
        assert!((probability_of_waiting(2, 2.0 / 3.0) - 0.167).abs() < 5e-4);
    }

    /// The traffic at which one call in a hundred is blocked, as in every printed Erlang B table
    /// (ITU-D, "Teletraffic Engineering Handbook", appendix).
    #[test]
    fn the_blocking_is_that_of_the_printed_tables() {
        for (circuits, erlangs) in [(1, 0.0101), (5, 1.361), (10, 4.461), (20, 12.03), (50, 37.9)] {
            let blocked = blocking(circuits, erlangs);
            assert!((blocked - 0.01).abs() < 1e-4, "{circuits}: {blocked}");
        }
    }

    #[test]
    fn the_recurrence_agrees_with_the_formula_of_sums() {
        for (count, offered) in [(2_u32, 1.5), (5, 3.0), (10, 8.0), (30, 25.0)] {
            let mut term = 1.0;
            let mut sum = 0.0;
            for n in 0..count {
                sum += term;
                term *= offered / f64::from(n + 1);
            }
            let last = term / (1.0 - offered / f64::from(count));
            let exact = last / (sum + last);
            assert!((probability_of_waiting(count, offered) - exact).abs() < 1e-12, "{count}");
        }
        // Closed form for two connections: 2 r^2 / (1 + r).
        assert!((probability_of_waiting(2, 1.5) - 2.0 * 0.5625 / 1.75).abs() < 1e-12);
    }

    #[test]
    fn extreme_loads_have_an_answer() {
        assert_eq!(probability_of_waiting(0, 1.0), 1.0);
        assert_eq!(probability_of_waiting(4, 4.0), 1.0);
        assert_eq!(probability_of_waiting(4, f64::NAN), 1.0);
        assert_eq!(probability_of_waiting(4, 0.0), 0.0);
        assert_eq!(probability_of_waiting(4, -1.0), 0.0);
        let large = probability_of_waiting(10_000, 9_900.0);
        assert!(large > 0.0 && large < 1.0, "{large}");
    }
}
