//! A histogram of spans of time: one thread at a time counts, and any thread reads it meanwhile.

use crate::lock::AtomicU64;
use std::fmt;
use std::sync::atomic::Ordering;

/// Classes to every doubling, as a power of two.
const FINENESS: u32 = 4;
const STEPS: usize = 1 << FINENESS;

/// From the first doubling that is divided, 2^4 ns, to the last, 2^43 ns: 4.9 hours. What is longer
/// counts as that.
const DOUBLINGS: usize = 40;
const CLASSES: usize = (DOUBLINGS + 1) * STEPS;

/// Spans of time, counted in classes, in the memory of 656 numbers.
///
/// A class is as wide as a sixteenth of the power of two at or below its values: 0 ns to 15 ns one
/// by one, then 16 classes to every doubling. So the middle of a class is at most 1/32 off the
/// values in it.
pub struct Histogram(Box<[AtomicU64; CLASSES]>);

impl Histogram {
    /// How many classes there are.
    pub const CLASSES: usize = CLASSES;

    /// An empty histogram.
    pub fn new() -> Self {
        Self(Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    /// Counts a span of so many nanoseconds.
    ///
    /// Only one thread may do so at a time, else counts are lost: a pool does it under its lock. So
    /// it is two plain instructions instead of an atomic addition, and can be read without that
    /// lock.
    #[inline]
    pub fn add(&self, nanos: u64) {
        if let Some(count) = self.0.get(class(nanos)) {
            count.store(count.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
        }
    }

    /// How often each class was counted so far, the shortest first: the middle of the class in
    /// nanoseconds, and the count.
    pub fn classes(&self) -> impl Iterator<Item = (f64, u64)> {
        self.0
            .iter()
            .enumerate()
            .map(|(class, count)| (middle(class), count.load(Ordering::Relaxed)))
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.classes().filter(|(_, count)| *count > 0)).finish()
    }
}

#[inline]
fn class(nanos: u64) -> usize {
    let Some(doubling) = nanos.checked_ilog2().and_then(|log| log.checked_sub(FINENESS)) else {
        return usize::try_from(nanos).unwrap_or(0);
    };
    // 16 to 31: where in the doubling it lies, and 16.
    let step = usize::try_from(nanos >> doubling).unwrap_or(0);
    let before = usize::try_from(doubling).unwrap_or(DOUBLINGS).saturating_mul(STEPS);
    before.saturating_add(step).min(CLASSES - 1)
}

/// The middle of a class, in nanoseconds.
fn middle(class: usize) -> f64 {
    if class < STEPS {
        return class as f64;
    }
    let (doubling, step) = ((class / STEPS).saturating_sub(1), STEPS.saturating_add(class % STEPS));
    let width = (1_u64 << doubling.min(63)) as f64;
    // A class of width 1 holds one value, which is its middle.
    step as f64 * width + (width - 1.0) / 2.0
}

#[cfg(test)]
#[path = "../tests/unit/histogram.rs"]
mod tests;
