//! A histogram of durations, whose size does not depend on their number.

use std::time::Duration;

/// Counts durations by their size in nanoseconds.
#[derive(Debug, Clone)]
pub struct DurationHistogram {
    /// `None` only if the bounds were refused, which cannot happen.
    times: Option<hdrhistogram::Histogram<u64>>,
    max: Duration,
}

impl DurationHistogram {
    /// Adds one duration.
    pub fn record(&mut self, time: Duration) {
        let time = Duration::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        self.max = self.max.max(time);
        if let Some(times) = &mut self.times {
            times.saturating_record(time.as_nanos() as u64);
        }
    }

    /// Adds all durations of another histogram.
    pub fn add(&mut self, other: &Self) {
        self.max = self.max.max(other.max);
        if let (Some(times), Some(others)) = (&mut self.times, &other.times) {
            // Fails only for different bounds, and all are created with the same ones.
            let _ = times.add(others);
        }
    }

    /// Returns the duration that at least `per_mille` of a thousand did not exceed; zero if there
    /// were none. The result is at most 1 % too high, and never too low.
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let quantile = per_mille as f64 / 1000.0;
        let found = self.times.as_ref().map_or(0, |times| times.value_at_quantile(quantile));
        // The last bucket ends one below the largest number.
        let found = if found == u64::MAX - 1 { u64::MAX } else { found };
        Duration::from_nanos(found).min(self.max)
    }

    /// Returns the longest duration.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.times.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }
}

impl Default for DurationHistogram {
    fn default() -> Self {
        let times = hdrhistogram::Histogram::new_with_bounds(1, u64::MAX, 2).ok();
        Self { times, max: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_hundredth_too_high_and_never_too_low() {
        let mut histogram = DurationHistogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for per_mille in [1, 500, 990, 999, 1000] {
            let (exact, reported) =
                (Duration::from_micros(per_mille), histogram.quantile(per_mille));
            assert!(
                reported >= exact && reported <= exact + exact / 100,
                "{per_mille}: {reported:?}"
            );
        }
        assert_eq!(histogram.max(), Duration::from_millis(1));
        assert_eq!(histogram.quantile(1000), histogram.max());
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn the_durations_of_several_histograms_add_up() {
        let (mut one, mut other) = (DurationHistogram::default(), DurationHistogram::default());
        one.record(Duration::from_millis(1));
        other.record(Duration::from_millis(9));
        one.add(&other);
        assert_eq!((one.count(), one.max()), (2, Duration::from_millis(9)));
    }

    #[test]
    fn an_empty_histogram_has_no_times() {
        let histogram = DurationHistogram::default();
        assert_eq!(
            (histogram.quantile(500), histogram.max(), histogram.count()),
            (Duration::ZERO, Duration::ZERO, 0)
        );
    }

    #[test]
    fn the_longest_time_of_all_is_counted() {
        let mut histogram = DurationHistogram::default();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.quantile(500), Duration::from_nanos(u64::MAX));
    }
}
