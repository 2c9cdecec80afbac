//! The tasks that send queries, as fast as they are answered or at a rate.

use crate::drive::target::Target;
use crate::histogram::DurationHistogram;
use crate::interrupt::Interrupt;
use crate::terminal::Screen;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often the progress line is updated.
const TICK: Duration = Duration::from_millis(100);

/// How long after the end of the load an answer is waited for.
const LATE_MAX: Duration = Duration::from_secs(30);

/// How many tasks send queries, for how long, and when.
#[derive(Debug, Clone, Copy)]
pub struct Workers {
    pub concurrency: u32,
    pub span: Duration,
    pub pace: Pace,
}

/// When a query is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// When the one before is answered (closed loop).
    Closed,
    /// At its own time, whatever became of those before (open loop).
    Open {
        /// The time between two queries of all tasks together.
        gap: Duration,
    },
}

/// What the tasks measured.
#[derive(Debug, Default)]
pub struct Measured {
    /// How long successful queries took, waiting for a connection included. In an open loop this
    /// counts from when the query was due, if all tasks were busy then.
    pub times: DurationHistogram,
    pub failed: u64,
    pub first_error: Option<String>,
    /// The queries of an open loop that were due and not sent, since all tasks were busy.
    pub unsent: u64,
    pub took: Duration,
}

impl Pace {
    /// A number of queries per second.
    pub fn open(rate: f64) -> Self {
        let gap = Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX);
        Self::Open { gap: gap.max(Duration::from_nanos(1)) }
    }
}

struct Shared {
    started: Instant,
    span: Duration,
    pace: Pace,
    stop: AtomicBool,
    /// The queries that a task has begun to wait for or to send.
    taken: AtomicU64,
    done: AtomicU64,
}

impl Workers {
    /// Runs the tasks until the time is over or the user interrupts them.
    pub async fn run(
        &self,
        target: &Target,
        interrupt: &Interrupt,
        screen: &mut Screen,
    ) -> Measured {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            span: self.span,
            pace: self.pace,
            stop: AtomicBool::new(false),
            taken: AtomicU64::new(0),
            done: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..self.concurrency {
            tasks.spawn(work(target.clone(), Arc::clone(&shared)));
        }
        let mut measured = Measured::default();
        let mut interrupt = interrupt.clone();
        let mut tick = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                ended = tasks.join_next() => match ended {
                    Some(ended) => measured.add(ended.unwrap_or_default()),
                    None => break,
                },
                _ = tick.tick() => screen.progress(&shared.progress()),
                _ = interrupt.wanted(), if !shared.stop.load(Ordering::Relaxed) => {
                    shared.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        screen.clear();
        measured.took = shared.started.elapsed();
        measured.unsent = shared.unsent(measured.took);
        measured
    }
}

async fn work(target: Target, shared: Arc<Shared>) -> Measured {
    let mut measured = Measured::default();
    while let Some(begin) = shared.next().await {
        match in_time(shared.started + shared.span + LATE_MAX, target.ask()).await {
            Ok(()) => measured.times.record(begin.elapsed()),
            Err(error) => {
                measured.failed += 1;
                measured.first_error.get_or_insert(error);
            }
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
    }
    measured
}

/// Returns the answer, or an error at `end`: a server that stops answering would take forever.
async fn in_time(
    end: Instant,
    answer: impl Future<Output = Result<(), String>>,
) -> Result<(), String> {
    let late = |_| format!("no answer within {LATE_MAX:?} after the end of the load");
    tokio::time::timeout_at(end.into(), answer).await.map_err(late)?
}

impl Shared {
    /// Waits until the next query is due, and returns when it counts as begun; `None` at the end.
    ///
    /// A query that was due while all tasks were busy counts from then: otherwise a slow server
    /// would delay the questions and thereby hide how slow it is (coordinated omission).
    async fn next(&self) -> Option<Instant> {
        let is_over = |at: Instant| {
            self.stop.load(Ordering::Relaxed) || at.duration_since(self.started) >= self.span
        };
        let now = Instant::now();
        let Pace::Open { gap } = self.pace else { return (!is_over(now)).then_some(now) };
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let after = gap.as_secs_f64() * number as f64;
        let due = self.started.checked_add(Duration::try_from_secs_f64(after).ok()?)?;
        if is_over(due) || is_over(now) {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        if due <= now {
            return Some(due);
        }
        // The timer may be a millisecond late, which is not the server's.
        tokio::time::sleep_until(due.into()).await;
        Some(Instant::now())
    }

    /// Returns how many queries were due within the time that the load ran, and not sent.
    fn unsent(&self, took: Duration) -> u64 {
        let Pace::Open { gap } = self.pace else { return 0 };
        let due = (took.min(self.span).as_secs_f64() / gap.as_secs_f64()).floor() as u64;
        due.saturating_sub(self.taken.load(Ordering::Relaxed))
    }

    fn progress(&self) -> String {
        let (seconds, span) = (self.started.elapsed().as_secs_f64(), self.span.as_secs_f64());
        format!("  {seconds:.1} of {span:.0} s  {} queries", self.done.load(Ordering::Relaxed))
    }
}

impl Measured {
    /// Returns how many queries were answered per second.
    pub fn per_second(&self) -> f64 {
        let seconds = self.took.as_secs_f64();
        if seconds > 0.0 { self.times.count() as f64 / seconds } else { 0.0 }
    }

    fn add(&mut self, other: Self) {
        self.times.add(&other.times);
        self.failed += other.failed;
        if self.first_error.is_none() {
            self.first_error = other.first_error;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_answering_does_not_keep_the_load_from_ending() {
        let end = Instant::now() + LATE_MAX;
        let error = in_time(end, std::future::pending()).await.unwrap_err();
        assert!(error.contains("no answer within 30s"), "{error}");
        assert_eq!(in_time(end, async { Ok(()) }).await, Ok(()));
    }
}
