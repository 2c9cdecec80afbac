//! The load of a pool, and the size that it needs.

use crate::erlang::probability_of_waiting;
use std::time::Duration;

/// The largest size that [`Load::size_for`] considers.
pub const SIZE_MAX: u32 = 10_000;

/// What a pool has to serve: how often a connection is acquired, and how long it is held.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Load {
    /// Acquires per second.
    pub arrivals: f64,
    /// The mean time that a connection is held.
    pub mean_hold: Duration,
    /// The spread of the hold times: their standard deviation divided by their mean. 0 if all are
    /// equal, 1 (the default) if they are exponentially distributed, more if a few are very long.
    pub hold_spread: f64,
}

/// How long callers may wait: the given share of them at most `wait`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct WaitTarget {
    /// The share of callers, from 0 to 1: 0.99 for a p99.
    pub share: f64,
    /// The wait that this share must not exceed.
    pub wait: Duration,
}

impl WaitTarget {
    /// 99 % of the callers wait at most `wait`.
    pub fn p99(wait: Duration) -> Self {
        Self { share: 0.99, wait }
    }
}

impl Load {
    /// Creates a load with exponentially distributed hold times.
    pub fn new(arrivals: f64, mean_hold: Duration) -> Self {
        Self { arrivals, mean_hold, hold_spread: 1.0 }
    }

    /// Sets the spread of the hold times.
    #[must_use]
    pub fn hold_spread(mut self, spread: f64) -> Self {
        self.hold_spread = spread;
        self
    }

    /// Returns how many connections are in use on average, if there are enough: arrivals per second
    /// times the seconds that each holds a connection (Little's law).
    ///
    /// ```
    /// # use millpond_advice::Load;
    /// # use std::time::Duration;
    /// assert_eq!(Load::new(50.0, Duration::from_millis(20)).mean_in_use(), 1.0);
    /// ```
    pub fn mean_in_use(&self) -> f64 {
        let product = self.arrivals * self.mean_hold.as_secs_f64();
        // `max` would turn what is not a number into 0.
        if product < 0.0 { 0.0 } else { product }
    }

    /// Returns the wait that the given share of callers does not exceed with `connections`
    /// connections; `None` if the queue grows without end.
    ///
    /// Exact for exponentially distributed hold times. For others the wait is scaled by
    /// `(1 + spread^2) / 2`, the factor of Allen and Cunneen (A. O. Allen, "Probability,
    /// Statistics, and Queueing Theory", 1990), which is an approximation with more than one
    /// connection.
    pub fn wait(&self, connections: u32, share: f64) -> Option<Duration> {
        let offered = self.mean_in_use();
        let spare = f64::from(connections) - offered;
        if spare.is_nan() || spare <= 0.0 {
            return None;
        }
        let waiting = probability_of_waiting(connections, offered);
        let beyond = 1.0 - share;
        if waiting <= beyond {
            return Some(Duration::ZERO);
        }
        let scale = (1.0 + self.hold_spread * self.hold_spread) / 2.0;
        let seconds = self.mean_hold.as_secs_f64() / spare * (waiting / beyond).ln() * scale;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Returns the smallest number of connections that meets the target; `None` if more than
    /// [`SIZE_MAX`] were needed, or the load is not a number.
    pub fn size_for(&self, target: WaitTarget) -> Option<u32> {
        let meets =
            |size: u32| self.wait(size, target.share).is_some_and(|wait| wait <= target.wait);
        // More connections never make a wait longer, so the smallest size is found by halving.
        let (mut low, mut high) = (1, SIZE_MAX);
        if !meets(high) {
            return None;
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if meets(middle) { high = middle } else { low = middle + 1 }
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3600.0;

    /// The County Hospital of Hillier and Lieberman, "Introduction to Operations Research": 2
    /// arrivals an hour, 20 minutes each. With one doctor a patient waits more than 30 minutes with
    /// probability 0.404 and more than an hour with 0.245; with two, 30 minutes with 0.022.
    #[test]
    fn waits_are_those_of_the_hospital() {
        let load = Load::new(2.0 / HOUR, Duration::from_secs(20 * 60));
        for (doctors, probability, minutes) in
            [(1, 0.404, 30.0), (1, 0.245, 60.0), (2, 0.0226, 30.0)]
        {
            let wait = load.wait(doctors, 1.0 - probability).unwrap().as_secs_f64() / 60.0;
            assert!((wait - minutes).abs() < 0.25, "{doctors}: {wait} and {minutes}");
        }
    }

    /// Pollaczek and Khinchine: with one connection and equal hold times the mean wait is half of
    /// that with exponential ones. The scale of the quantile is the same factor.
    #[test]
    fn equal_hold_times_halve_the_wait_and_long_tails_lengthen_it() {
        let load = Load::new(8.0, Duration::from_millis(100));
        let wait = |spread| load.hold_spread(spread).wait(1, 0.99).unwrap().as_secs_f64();
        assert!((wait(0.0) * 2.0 - wait(1.0)).abs() < 1e-8);
        assert!((wait(3.0) - wait(1.0) * 5.0).abs() < 1e-6);
    }

    #[test]
    fn the_size_is_the_smallest_that_meets_the_target() {
        for (arrivals, millis, target) in [(200.0, 40, 5), (1000.0, 5, 1), (3.0, 900, 100)] {
            let load = Load::new(arrivals, Duration::from_millis(millis));
            let target = WaitTarget::p99(Duration::from_millis(target));
            let size = load.size_for(target).unwrap();
            assert!(load.wait(size, 0.99).unwrap() <= target.wait);
            assert!(load.wait(size - 1, 0.99).is_none_or(|wait| wait > target.wait), "{size}");
            assert!(f64::from(size) > load.mean_in_use());
        }
    }

    #[test]
    fn a_load_that_nothing_can_serve_has_no_size() {
        let target = WaitTarget::p99(Duration::from_millis(1));
        assert_eq!(Load::new(1e9, Duration::from_secs(1)).size_for(target), None);
        assert_eq!(Load::new(f64::NAN, Duration::from_secs(1)).size_for(target), None);
        assert_eq!(Load::new(0.0, Duration::from_secs(1)).size_for(target), Some(1));
        assert_eq!(Load::new(20.0, Duration::from_secs(1)).wait(20, 0.99), None);
    }
}
