//! Many tasks on ten connections: throughput, fairness, and waiting times.

use super::runtime;
use crate::competitor::{Competitor, Effort, Figure, Work, filled};
use crate::race::spread;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Instant;
use tokio::task::yield_now;

const CAP: u32 = 10;

/// How many turns a task that holds for no time takes between two yields, so that the tasks of
/// every pool yield equally often.
const TURNS_BEFORE_YIELD: u32 = 64;

/// The number of windows of the span. The throughput is that of the median window, since
/// disturbances of the machine affect some windows a lot.
const WINDOWS: u8 = 10;

/// The phases of a shift: warming up, the windows from 1 to the last, and the end.
const WARMING: u8 = 0;
const OVER: u8 = WINDOWS + 1;

/// Runs a number of tasks, each in a loop of acquire, hold, return.
#[derive(Debug, Clone, Copy)]
pub struct Crowd {
    /// The name of the throughput row; the other rows have this name with a suffix, or for `hold64`
    /// names like `fairness64`.
    pub row: &'static str,
    /// The name of the fairness row; if set, waiting times are measured too.
    pub fairness: Option<&'static str>,
    /// The number of tasks.
    pub tasks: u32,
    /// The number of workers of the runtime.
    pub workers: usize,
    /// True if a connection is held over a yield.
    pub holds: bool,
}

/// The results of one task.
struct Served {
    /// Turns, by window.
    turns: [u64; WINDOWS as usize],
    /// Waiting times in nanoseconds.
    waits: Vec<u32>,
}

/// The results of one shift.
struct Shift {
    served: Vec<Served>,
    /// The duration of each window in seconds.
    windows: Vec<f64>,
}

impl Work for Crowd {
    fn name(&self) -> String {
        self.row.to_owned()
    }

    fn run<P: Competitor>(&self, effort: &Effort) -> Vec<Figure> {
        let row = |ending: &str| format!("{}{ending}{}", self.row, P::VARIANT);
        let shift = self.shift::<P, false>(effort);
        let mut figures = vec![Figure::new(row(""), "ops/s", shift.throughput())];
        let Some(fairness) = self.fairness else { return figures };
        figures.push(Figure::new(
            format!("{fairness}{}", P::VARIANT),
            "most/least",
            shift.most_to_least(),
        ));
        // A second shift, with two readings of the clock per turn, which would have reduced the
        // throughput.
        let shift = self.shift::<P, true>(effort);
        let mut waits: Vec<u32> = shift.served.into_iter().flat_map(|one| one.waits).collect();
        waits.sort_unstable();
        for (ending, share) in [("_p50", 0.5), ("_p99", 0.99), ("_p999", 0.999), ("_longest", 1.0)]
        {
            figures.push(Figure::new(row(ending), "us", quantile(&waits, share) / 1e3));
        }
        figures
    }
}

impl Crowd {
    /// Runs all tasks for the span.
    #[expect(clippy::disallowed_methods, reason = "the measured time itself")]
    fn shift<P: Competitor, const TIMED: bool>(&self, effort: &Effort) -> Shift {
        let runtime = runtime(self.workers);
        let phase = Arc::new(AtomicU8::new(WARMING));
        let pool = runtime.block_on(filled::<P>(CAP));
        let mut tasks = Vec::new();
        for _ in 0..self.tasks {
            tasks.push(runtime.spawn(borrow::<P, TIMED>(
                pool.clone(),
                Arc::clone(&phase),
                self.holds,
            )));
        }
        let span = effort.span;
        let referee = thread::spawn(move || {
            thread::sleep(span / 8);
            let mut windows = Vec::new();
            for window in 1..=WINDOWS {
                phase.store(window, Ordering::Relaxed);
                let began = Instant::now();
                thread::sleep(span / u32::from(WINDOWS));
                windows.push(began.elapsed().as_secs_f64());
            }
            phase.store(OVER, Ordering::Relaxed);
            windows
        });
        let served = runtime.block_on(async {
            let mut served = Vec::new();
            for task in tasks {
                served.push(task.await.expect("a pool does not panic"));
            }
            // Inside the runtime, since some pools spawn a task when they are dropped.
            drop(pool);
            served
        });
        Shift { served, windows: referee.join().expect("the referee only sleeps") }
    }
}

async fn borrow<P: Competitor, const TIMED: bool>(
    pool: P,
    phase: Arc<AtomicU8>,
    holds: bool,
) -> Served {
    let mut served = Served {
        turns: [0; WINDOWS as usize],
        waits: Vec::with_capacity(if TIMED { 1 << 14 } else { 0 }),
    };
    let mut since_yield = 0;
    loop {
        let asked = TIMED.then(Instant::now);
        let lease = pool.acquire().await;
        let waited = asked.map(|asked| asked.elapsed());
        black_box(&lease);
        let now = phase.load(Ordering::Relaxed);
        if now != WARMING {
            // Includes the last wait, which ends after the time is over: the task may have starved
            // until then.
            served
                .waits
                .extend(waited.map(|waited| u32::try_from(waited.as_nanos()).unwrap_or(u32::MAX)));
        }
        match now {
            WARMING => {}
            OVER => return served,
            window => served.turns[usize::from(window - 1)] += 1,
        }
        if holds {
            yield_now().await;
        }
        drop(lease);
        since_yield += 1;
        if !holds && since_yield == TURNS_BEFORE_YIELD {
            since_yield = 0;
            yield_now().await;
        }
    }
}

impl Shift {
    /// Returns the turns per second in the median window.
    fn throughput(&self) -> f64 {
        let rate = |(window, seconds): (usize, &f64)| {
            let turns: u64 = self.served.iter().map(|one| one.turns[window]).sum();
            turns as f64 / seconds
        };
        spread(&self.windows.iter().enumerate().map(rate).collect::<Vec<f64>>()).1
    }

    /// Returns the ratio between the task that was served most often and the one served least
    /// often.
    fn most_to_least(&self) -> f64 {
        let turns = || self.served.iter().map(|one| one.turns.iter().sum::<u64>());
        // A task that was never served counts as served once, so that the ratio is finite.
        turns().max().unwrap_or(0) as f64 / turns().min().unwrap_or(0).max(1) as f64
    }
}

/// Returns the value below which this share of the sorted values lies.
fn quantile(sorted: &[u32], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_value_below_which_the_given_share_lies() {
        let values: Vec<u32> = (0..1_000).collect();
        assert_eq!(quantile(&values, 0.5), 500.0);
        assert_eq!(quantile(&values, 0.999), 999.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    /// Returns a shift whose tasks had these turns in the first window and none afterwards.
    fn shift(turns: &[u64]) -> Shift {
        let served = |&turns: &u64| {
            let mut all = [0; WINDOWS as usize];
            all[0] = turns;
            Served { turns: all, waits: Vec::new() }
        };
        Shift { served: turns.iter().map(served).collect(), windows: vec![0.5] }
    }

    #[test]
    fn fairness_compares_the_extremes() {
        assert_eq!(shift(&[10, 40, 20]).most_to_least(), 4.0);
        assert_eq!(shift(&[0, 40]).most_to_least(), 40.0);
    }

    #[test]
    fn throughput_is_the_turns_of_all_by_the_seconds_of_the_window() {
        assert_eq!(shift(&[10, 40]).throughput(), 100.0);
    }
}
