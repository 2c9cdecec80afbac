//! `millpond load --sweep`: the same load on pools of several sizes, and the smallest size that is
//! nearly as fast as the fastest.

use crate::arguments::LoadArguments;
use crate::drive::Waits;
use crate::drive::target::Target;
use crate::drive::workers::{Measured, Pace, Workers};
use crate::interrupt::Interrupt;
use crate::size;
use crate::table::Table;
use crate::terminal::{Screen, Tone, format_duration};
use millpond::Settings;
use serde_json::{Value, json};
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::time::Duration;

/// A size is recommended if it has this share of the best throughput, in percent.
const NEARLY: f64 = 97.0;

/// The width of the longest bar.
const BAR: f64 = 40.0;

/// The load on a pool of one size.
struct Run {
    size: u32,
    per_second: f64,
    p99: Duration,
    failed: u64,
}

/// Runs the load on pools of 1 up to `--concurrency` connections; returns false if a query failed.
///
/// # Errors
///
/// A server that cannot be reached is an error, and so is a file that cannot be written.
pub async fn run(
    arguments: &LoadArguments,
    settings: &Settings,
    interrupt: &Interrupt,
    screen: &mut Screen,
) -> Result<bool, Box<dyn Error>> {
    let mut runs = Vec::new();
    for size in sizes(arguments.concurrency) {
        if interrupt.is_wanted() {
            break;
        }
        let measured = measure(arguments, settings, size, interrupt, screen).await?;
        runs.push(Run {
            size,
            per_second: measured.per_second(),
            p99: measured.times.quantile(990),
            failed: measured.failed,
        });
    }
    let is_redis = settings.storage.connection_string.is_none();
    let recommended = recommended(&runs).map(|run| recommendation(run.size, is_redis));
    // First: if it fails, that is the only output.
    if let (Some(path), Some(text)) = (&arguments.write, &recommended) {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path);
        file.as_mut()
            .map_err(|error| format!("{}: {error}", path.display()))?
            .write_all(text.as_bytes())?;
    }
    match arguments.json {
        true => print_json(&runs, recommended.as_deref())?,
        false => print(screen, &runs, recommended.as_deref())?,
    }
    Ok(recommended.is_some() && runs.iter().all(|run| run.failed == 0))
}

async fn measure(
    arguments: &LoadArguments,
    settings: &Settings,
    size: u32,
    interrupt: &Interrupt,
    screen: &mut Screen,
) -> Result<Measured, Box<dyn Error>> {
    let loader = arguments.source.loader();
    let loader = loader
        .set("db.limits", "off")
        .set("db.pool_size", size)
        .set("db.max_overflow", 0)
        .set("db.overflow_after", 0)
        .set("db.min_idle", "auto");
    let mut settings = settings.clone();
    (settings.cache.max_connections, settings.redis.max_connections) = (size, size);
    let query = arguments.query.as_deref();
    let target = Target::open(loader, &settings, query, &Waits::default()).await?;
    target.prewarm(size).await?;
    let workers = Workers {
        concurrency: arguments.concurrency,
        span: Duration::from_secs(arguments.seconds),
        pace: Pace::Closed,
    };
    let measured = workers.run(&target, interrupt, screen).await;
    target.close().await;
    Ok(measured)
}

/// Returns the sizes to try: about two for each doubling, and the concurrency itself.
fn sizes(concurrency: u32) -> Vec<u32> {
    let doublings = (0..).map_while(|power| 1_u32.checked_shl(power).filter(|it| *it > 0));
    let steps = doublings.flat_map(|size| [size, size.saturating_add(size / 2)]);
    let mut sizes: Vec<_> = steps.take_while(|size| *size < concurrency).collect();
    sizes.push(concurrency);
    sizes.dedup();
    sizes
}

/// Returns the smallest size that is nearly as fast as the fastest.
fn recommended(runs: &[Run]) -> Option<&Run> {
    let best = best(runs)?;
    runs.iter().find(|run| run.per_second * 100.0 >= best.per_second * NEARLY)
}

fn best(runs: &[Run]) -> Option<&Run> {
    let answered = runs.iter().filter(|run| run.per_second > 0.0);
    answered.max_by(|one, other| one.per_second.total_cmp(&other.per_second))
}

/// Returns a settings file with this size.
fn recommendation(size: u32, is_redis: bool) -> String {
    if is_redis {
        return format!("[cache]\nmax_connections = {}\n", size.max(10));
    }
    size::spelt(size)
}

fn print(screen: &mut Screen, runs: &[Run], recommended: Option<&str>) -> io::Result<()> {
    let best = best(runs).map_or(1.0, |run| run.per_second);
    let mut table = Table::new(["pool_size", "queries/s", "p99", "failed", ""]);
    for run in runs {
        let bar = "#".repeat((run.per_second / best * BAR).round() as usize);
        table.row([
            run.size.to_string(),
            format!("{:.0}", run.per_second),
            format_duration(run.p99),
            run.failed.to_string(),
            format!("{bar:<width$}", width = BAR as usize),
        ]);
    }
    screen.line(Tone::Plain, &table.to_string())?;
    match recommended {
        Some(text) => screen.line(
            Tone::Good,
            &format!("\nThe smallest size with {NEARLY} % of the best throughput:\n\n{text}"),
        ),
        None => screen.line(Tone::Bad, "\nNo query was answered."),
    }
}

fn print_json(runs: &[Run], recommended: Option<&str>) -> io::Result<()> {
    let to_json = |run: &Run| {
        json!({
            "pool_size": run.size,
            "per_second": run.per_second,
            "p99_us": run.p99.as_nanos() as f64 / 1e3,
            "failed": run.failed,
        })
    };
    let size = self::recommended(runs).map(|run| run.size);
    let output = json!({
        "good": size.is_some() && runs.iter().all(|run| run.failed == 0),
        "runs": runs.iter().map(to_json).collect::<Value>(),
        "recommended": size,
        "settings": recommended,
    });
    writeln!(io::stdout(), "{output}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(throughputs: &[(u32, f64)]) -> Vec<Run> {
        let run = |(size, per_second): &(u32, f64)| Run {
            size: *size,
            per_second: *per_second,
            p99: Duration::ZERO,
            failed: 0,
        };
        throughputs.iter().map(run).collect()
    }

    #[test]
    fn sizes_grow_up_to_the_concurrency() {
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(10), [1, 2, 3, 4, 6, 8, 10]);
        assert_eq!(sizes(16), [1, 2, 3, 4, 6, 8, 12, 16]);
        assert!(sizes(10_000).len() < 30);
    }

    #[test]
    fn the_smallest_size_that_is_nearly_as_fast_is_recommended() {
        let size = |all: &[(u32, f64)]| recommended(&runs(all)).map(|run| run.size);
        assert_eq!(size(&[(1, 100.0), (2, 190.0), (4, 296.0), (8, 300.0)]), Some(4));
        assert_eq!(size(&[(1, 300.0), (2, 290.0)]), Some(1));
        assert_eq!(size(&[(1, 0.0), (2, 0.0)]), None);
    }

    #[test]
    fn what_is_recommended_is_a_valid_file() {
        for (size, is_redis) in [(1, false), (50, false), (60, false), (3, true), (100, true)] {
            let path = std::env::temp_dir().join(format!("sweep-{:x}.toml", fastrand::u64(..)));
            std::fs::write(&path, recommendation(size, is_redis)).unwrap();
            let loaded = Settings::loader().no_environment().file(&path).load();
            std::fs::remove_file(&path).unwrap();
            let settings = loaded.unwrap();
            match is_redis {
                true => assert_eq!(settings.cache.max_connections, size.max(10)),
                false => assert_eq!(settings.db.pool.pool_size, size),
            }
        }
    }
}
