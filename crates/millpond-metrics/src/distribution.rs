//! Spans of time, counted in classes: one atomic addition a span, and the memory of 656 numbers.
//!
//! A class is as wide as a sixteenth of the power of two at or below its values: 0 ns to 15 ns one by one, then 16 classes to
//! every doubling. So the middle of a class is at most 1/32 off the values in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Classes to every doubling, as a power of two.
const FINENESS: u32 = 4;
const STEPS: usize = 1 << FINENESS;

/// From the first doubling that is divided, 2^4 ns, to the last, 2^43 ns: 4.9 hours. What is longer counts as that.
const DOUBLINGS: usize = 40;
const CLASSES: usize = (DOUBLINGS + 1) * STEPS;

/// How often spans of each class were counted since they were last taken.
pub(crate) struct Distribution(Box<[AtomicU64; CLASSES]>);

impl Distribution {
    pub(crate) fn new() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; CLASSES]))
    }

    /// Counts a span.
    pub(crate) fn add(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.0.get(class(nanos)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes out what was counted: the middle of each class in seconds, and how often; and how often in all.
    pub(crate) fn take(&self, mut told: impl FnMut(f64, u64)) -> u64 {
        let mut all = 0_u64;
        for (class, count) in self.0.iter().enumerate() {
            if count.load(Ordering::Relaxed) > 0 {
                let count = count.swap(0, Ordering::Relaxed);
                all = all.saturating_add(count);
                told(middle(class), count);
            }
        }
        all
    }
}

fn class(nanos: u64) -> usize {
    let Some(doubling) = nanos.checked_ilog2().and_then(|log| log.checked_sub(FINENESS)) else {
        return usize::try_from(nanos).unwrap_or(0);
    };
    // 16 to 31: where in the doubling it lies, and 16.
    let step = usize::try_from(nanos >> doubling).unwrap_or(0);
    let before = usize::try_from(doubling).unwrap_or(DOUBLINGS).saturating_mul(STEPS);
    before.saturating_add(step).min(CLASSES - 1)
}

/// The middle of a class, in seconds.
fn middle(class: usize) -> f64 {
    const NANO: f64 = 1e-9;
    if class < STEPS {
        return class as f64 * NANO;
    }
    let (doubling, step) = (class / STEPS - 1, STEPS + class % STEPS);
    let width = (1_u64 << doubling.min(63)) as f64;
    // A class of width 1 holds one value, which is its middle.
    (step as f64 * width + (width - 1.0) / 2.0) * NANO
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(spans: &[u64]) -> Vec<(f64, u64)> {
        let distribution = Distribution::new();
        spans.iter().for_each(|nanos| distribution.add(Duration::from_nanos(*nanos)));
        let mut told = Vec::new();
        let all = distribution.take(|middle, count| told.push((middle, count)));
        assert_eq!(all, u64::try_from(spans.len()).unwrap());
        assert_eq!(distribution.take(|_, _| panic!("nothing is told twice")), 0);
        told
    }

    #[test]
    fn a_span_is_told_at_most_3_2_percent_off() {
        let mut nanos = 1_u64;
        while nanos < 1 << 43 {
            for span in [nanos, nanos + nanos / 3, nanos * 2 - 1] {
                let told = taken(&[span]);
                let off = (told[0].0 * 1e9 - span as f64).abs() / span as f64;
                assert!(told.len() == 1 && off <= 0.032, "{span} ns was told as {} s", told[0].0);
            }
            nanos *= 2;
        }
        assert_eq!(taken(&[0]), [(0.0, 1)]);
        assert_eq!(taken(&[u64::MAX]).len(), 1);
    }

    #[test]
    fn equal_spans_are_told_together_and_in_order() {
        let told = taken(&[5, 1_000_000, 5, 1_000_001]);
        assert_eq!(told.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [2, 2]);
        assert!(told[0].0 < told[1].0);
    }

    #[test]
    fn classes_follow_one_another_without_a_gap() {
        let mut last = 0;
        for nanos in 0..100_000 {
            let class = class(nanos);
            assert!(class == last || class == last + 1, "{nanos}");
            last = class;
        }
    }
}
