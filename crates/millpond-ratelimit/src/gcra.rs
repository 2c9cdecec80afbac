//! The algorithm that the script runs in Redis, in Rust: for the fallback, and to test the two
//! against each other.
//!
//! A key has one number, the theoretical arrival time: when the bucket would have drained. A
//! request of cost `c` advances it by `c` intervals and is admitted if it is then at most a full
//! burst ahead of now.
//!
//! A number further ahead than a full burst comes from a clock that was set back, or from a limit
//! that was wider before. It counts as a full burst, so that no client is locked out for longer.

use crate::limit::Limit;
use crate::span::Span;

/// The outcome of a request for one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether the request fits.
    pub(crate) fits: bool,
    /// How far ahead of now the key is: after the request if all limits admit it, else before it.
    pub(crate) ahead: Span,
}

/// The state of a key before and after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Evaluation {
    /// How far ahead of now the key is.
    pub(crate) ahead: Span,
    /// How far it would be after the request.
    pub(crate) after: Span,
    pub(crate) fits: bool,
    /// The key is further ahead than the limit allows, and must be written back in any case.
    pub(crate) write_back: bool,
}

/// Computes whether a request of this cost fits a limit.
pub(crate) fn evaluate(limit: &Limit, stored: Option<Span>, cost: u32, now: Span) -> Evaluation {
    let tolerance = limit.tolerance();
    let stored_ahead = stored.unwrap_or_default().saturating_sub(now);
    let ahead = stored_ahead.min(tolerance);
    let after = ahead.saturating_add(limit.interval().times(cost));
    Evaluation { ahead, after, fits: after <= tolerance, write_back: stored_ahead > tolerance }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// When requests of a random schedule were admitted, in microseconds.
    fn admitted(limit: &Limit, seed: u64) -> Vec<u64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut stored, mut admitted) = (None, Vec::new());
        let mut now = 1_764_000_000_000_000;
        let step =
            1 + random.u64(0..2 * limit.period().as_micros() as u64 / u64::from(limit.count()));
        for _ in 0..200 {
            now += if random.u32(0..20) == 0 {
                random.u64(0..5_000_000)
            } else {
                random.u64(0..=step)
            };
            let evaluation = evaluate(limit, stored, 1, Span::micros(now));
            if evaluation.fits {
                stored = Some(Span::micros(now).saturating_add(evaluation.after));
                admitted.push(now);
            }
        }
        admitted
    }

    #[test]
    fn no_window_admits_more_than_the_burst_and_its_share_of_the_rate() {
        for seed in 0..5_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let period = Duration::from_micros(random.u64(1_000..2_000_000));
            let limit =
                Limit::new(random.u32(1..500), period).unwrap().burst(random.u32(1..40)).unwrap();
            let times = admitted(&limit, seed);
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let count = (last - first + 1) as f64;
                    let window = (end - start) as f64 / limit.period().as_micros() as f64;
                    let most = f64::from(limit.burst_size()) + f64::from(limit.count()) * window;
                    assert!(
                        count <= most + 1e-6,
                        "seed {seed}: {count} of {most} in {} us",
                        end - start
                    );
                }
            }
        }
    }

    #[test]
    fn a_client_that_keeps_to_the_rate_is_always_admitted() {
        for count in [1, 3, 7, 10, 999, 5000] {
            let limit = Limit::per_second(count).unwrap().burst(1).unwrap();
            let (mut stored, mut now) = (None, 1_764_000_000_000_000);
            for _ in 0..1000 {
                let evaluation = evaluate(&limit, stored, 1, Span::micros(now));
                assert!(evaluation.fits);
                stored = Some(Span::micros(now).saturating_add(evaluation.after));
                now += limit.interval().duration().as_micros() as u64;
            }
        }
    }

    #[test]
    fn a_clock_that_goes_back_locks_nobody_out_for_longer_than_a_full_burst() {
        let limit = Limit::per_second(10).unwrap();
        let later = Span::micros(1_764_000_000_000_000);
        let now = Span::micros(1_763_000_000_000_000);
        let evaluation = evaluate(&limit, Some(later), 1, now);
        assert!(!evaluation.fits && evaluation.write_back);
        assert_eq!(evaluation.ahead.duration(), Duration::from_secs(1));
    }
}
