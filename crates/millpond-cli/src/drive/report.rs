//! What a load measured, as text and as JSON.

use crate::drive::workers::Measured;
use crate::histogram::DurationHistogram;
use crate::table::Table;
use crate::terminal::{Screen, Tone, format_duration};
use millpond::Status;
use serde_json::{Value, json};
use std::io::{self, Write};

/// The percentiles that are printed, in thousandths.
const PERCENTILES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];

/// The result of a load.
#[derive(Debug)]
pub struct Report {
    /// What the server is.
    pub target: &'static str,
    pub concurrency: u32,
    pub measured: Measured,
    /// How long acquires took, as the pool says.
    pub waits: DurationHistogram,
    pub status: Status,
}

impl Report {
    /// Returns true if queries were answered and none failed.
    pub fn is_good(&self) -> bool {
        self.measured.failed == 0 && self.measured.times.count() > 0
    }

    /// Prints the report.
    ///
    /// # Errors
    ///
    /// Returns an error if standard output cannot be written.
    pub fn print(&self, screen: &mut Screen) -> io::Result<()> {
        let Measured { times, failed, first_error, unsent, took } = &self.measured;
        let line = format!(
            "{}: {} queries in {:.1} s by {} tasks, {:.0} a second; {failed} failed",
            self.target,
            times.count(),
            took.as_secs_f64(),
            self.concurrency,
            self.measured.per_second(),
        );
        screen.line(Tone::Heading, &line)?;
        let names = PERCENTILES.iter().map(|(name, _)| *name);
        let mut table = Table::new(["  "].into_iter().chain(names).chain(["max"]));
        for (name, times) in [("  query", times), ("  of that, acquire", &self.waits)] {
            let quantiles = PERCENTILES.iter().map(|(_, quantile)| times.quantile(*quantile));
            let cells = quantiles.chain([times.max()]).map(format_duration);
            table.row([name.to_owned()].into_iter().chain(cells));
        }
        screen.line(Tone::Plain, &table.to_string())?;
        let (totals, limit) = (&self.status.totals, self.status.limit());
        let pool = format!(
            "  at most {} of {limit} connections were open; {} were opened",
            totals.peak, totals.created
        );
        screen.line(Tone::Plain, &pool)?;
        if *unsent > 0 {
            let line = format!(
                "warning: {unsent} queries were due and not sent, since all tasks were busy: the \
                 server is too slow for this rate, or --concurrency too low"
            );
            screen.line(Tone::Bad, &line)?;
        }
        match first_error {
            Some(error) => screen.line(Tone::Bad, &format!("error: {error}")),
            None => Ok(()),
        }
    }

    /// Prints the report as JSON, with times in microseconds.
    ///
    /// # Errors
    ///
    /// Returns an error if standard output cannot be written.
    pub fn print_json(&self) -> io::Result<()> {
        let Measured { times, failed, first_error, unsent, took } = &self.measured;
        let output = json!({
            "good": self.is_good(),
            "server": self.target,
            "concurrency": self.concurrency,
            "queries": times.count(),
            "failed": failed,
            "first_error": first_error,
            "unsent": unsent,
            "seconds": took.as_secs_f64(),
            "per_second": self.measured.per_second(),
            "query_us": quantiles(times),
            "acquire_us": quantiles(&self.waits),
            "peak": self.status.totals.peak,
            "opened": self.status.totals.created,
        });
        writeln!(io::stdout(), "{output}")
    }
}

fn quantiles(times: &DurationHistogram) -> Value {
    let micros = |time: std::time::Duration| Value::from(time.as_nanos() as f64 / 1e3);
    let found = PERCENTILES.iter().map(|(name, quantile)| (*name, times.quantile(*quantile)));
    let all = found.chain([("max", times.max())]);
    Value::Object(all.map(|(name, time)| (name.to_owned(), micros(time))).collect())
}
