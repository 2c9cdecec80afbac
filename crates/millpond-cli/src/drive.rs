//! `millpond load`: drives a pool at a given concurrency or rate, and prints how long callers took.

mod report;
mod sweep;
mod target;
mod workers;

use crate::arguments::LoadArguments;
use crate::histogram::DurationHistogram;
use crate::interrupt::Interrupt;
use crate::load;
use crate::terminal::Screen;
use millpond::{Event, EventContext, Settings};
use report::Report;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use target::Target;
use workers::{Pace, Workers};

/// How long acquires took, as the pool says.
pub type Waits = Arc<Mutex<DurationHistogram>>;

/// Runs the load; returns false if a query failed.
///
/// # Errors
///
/// Invalid settings are an error, and so is a server that cannot be reached.
pub fn run(arguments: &LoadArguments) -> Result<bool, Box<dyn Error>> {
    let loader = arguments.source.loader();
    let settings = load::load(loader.clone())?.settings;
    let screen = if arguments.json { Screen::for_machines() } else { Screen::for_people() };
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(run_load(arguments, settings, screen));
    runtime.shutdown_background();
    outcome
}

async fn run_load(
    arguments: &LoadArguments,
    settings: Settings,
    mut screen: Screen,
) -> Result<bool, Box<dyn Error>> {
    let interrupt = Interrupt::listen(|| {})?;
    if arguments.sweep {
        return sweep::run(arguments, &settings, &interrupt, &mut screen).await;
    }
    let waits = Waits::default();
    let loader = arguments.source.loader();
    let target = Target::open(loader, &settings, arguments.query.as_deref(), &waits).await?;
    // What connecting took is not part of the load.
    *waits.lock().unwrap_or_else(PoisonError::into_inner) = DurationHistogram::default();
    let workers = Workers {
        concurrency: arguments.concurrency,
        span: std::time::Duration::from_secs(arguments.seconds),
        pace: arguments.rate.map_or(Pace::Closed, Pace::open),
    };
    let measured = workers.run(&target, &interrupt, &mut screen).await;
    let status = target.status();
    target.close().await;
    let waits = waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let report =
        Report { target: target.name(), concurrency: workers.concurrency, measured, waits, status };
    match arguments.json {
        true => report.print_json()?,
        false => report.print(&mut screen)?,
    }
    Ok(report.is_good())
}

/// Returns an observer that records the waits of all acquires.
pub fn record(waits: &Waits) -> impl Fn(&Event, &EventContext<'_>) + Send + Sync + 'static {
    let waits = Arc::clone(waits);
    move |event, _| {
        if let Event::Acquired { waited, .. } = event {
            waits.lock().unwrap_or_else(PoisonError::into_inner).record(*waited);
        }
    }
}
