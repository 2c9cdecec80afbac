//! How long many things took, in buckets: the memory is the same for a second of demo and for a
//! week.
//!
//! A bucket is a sixteenth of a power of two wide, so a quantile is at most 6.25 % too high, and
//! never too low.

use std::time::Duration;

/// Times, counted by size.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// Each power of two is divided into `1 << PART_BITS` parts.
const PART_BITS: u32 = 4;
const PARTS: u64 = 1 << PART_BITS;
/// The buckets of all 64-bit numbers of nanoseconds.
const BUCKETS: usize = ((u64::BITS - PART_BITS + 1) * (1 << PART_BITS)) as usize;

impl Histogram {
    /// Counts one time.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanos)) {
            *bucket += 1;
        }
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// The time that at least `per_mille` of a thousand did not exceed; zero if there were none.
    pub fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (u128::from(self.count) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0_u128;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return Duration::from_nanos(highest_in(bucket).min(self.max));
            }
        }
        Duration::ZERO
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

fn bucket_of(nanos: u64) -> usize {
    if nanos < PARTS {
        return nanos as usize;
    }
    let power = nanos.ilog2();
    let part = (nanos >> (power - PART_BITS)) & (PARTS - 1);
    (u64::from(power - PART_BITS + 1) * PARTS + part) as usize
}

fn highest_in(bucket: usize) -> u64 {
    let (row, part) = (bucket as u64 / PARTS, bucket as u64 % PARTS);
    if row == 0 {
        return part;
    }
    let width = 1_u64 << (row - 1);
    (PARTS + part) * width + (width - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_holds_it() {
        let powers = (0..64).map(|power| 1_u64 << power);
        for nanos in powers
            .flat_map(|power| [power - 1, power, power + 1, power + power / 3, power + (power - 1)])
        {
            let bucket = bucket_of(nanos);
            assert!(bucket < BUCKETS, "{nanos}");
            assert!(highest_in(bucket) >= nanos, "{nanos}");
            assert!(bucket == 0 || highest_in(bucket - 1) < nanos, "{nanos}");
            assert!(highest_in(bucket) - nanos <= nanos / 16, "{nanos}");
        }
    }

    #[test]
    fn a_quantile_is_at_most_a_sixteenth_too_high_and_never_too_low() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        for per_mille in [1, 500, 990, 999, 1000] {
            let (exact, told) = (Duration::from_micros(per_mille), histogram.quantile(per_mille));
            assert!(told >= exact && told <= exact + exact / 16, "{per_mille}: {told:?}");
        }
        assert_eq!(histogram.max(), Duration::from_millis(1));
        assert_eq!(histogram.quantile(1000), histogram.max());
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn an_empty_histogram_has_no_times() {
        let histogram = Histogram::default();
        assert_eq!(
            (histogram.quantile(500), histogram.max(), histogram.count()),
            (Duration::ZERO, Duration::ZERO, 0)
        );
    }

    #[test]
    fn the_longest_time_of_all_is_counted() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.quantile(500), Duration::from_nanos(u64::MAX));
    }
}
