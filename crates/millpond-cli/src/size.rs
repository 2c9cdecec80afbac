//! `millpond size`: the pool that a load needs, by Little's law and Erlang's formula.

use crate::arguments::SizeArguments;
use crate::findings;
use crate::load;
use crate::terminal::{Screen, Tone};
use millpond::advice::{Advice, Load, Usage, WaitTarget, advise, guide_max_overflow};
use serde_json::json;
use std::error::Error;
use std::io::{self, Write};

/// The largest `pool_size` within the range of the setting.
const POOL_SIZE_MAX: u32 = 50;

/// Returns the section of a settings file with this size.
pub fn spelt(size: u32) -> String {
    let limits = if size > POOL_SIZE_MAX { "limits = \"off\"\n" } else { "" };
    format!("[db]\n{limits}pool_size = {size}\nmax_overflow = {}\n", guide_max_overflow(size))
}

/// Prints the advice for one process; returns false if the pool of the settings cannot serve the
/// load.
///
/// # Errors
///
/// Invalid settings are an error.
pub fn run(arguments: &SizeArguments) -> Result<bool, Box<dyn Error>> {
    let settings = load::load(arguments.settings.loader())?.settings;
    let rate = arguments.rate / f64::from(arguments.replicas);
    let load = Load::new(rate, arguments.hold).hold_spread(arguments.spread);
    let target = WaitTarget::p99(arguments.wait);
    let advice = advise(&settings.db.pool, &load, target, Usage::default());
    if arguments.json {
        print_json(&advice)?;
    } else {
        let mut screen = Screen::for_people();
        findings::print(&mut screen, &advice.findings, settings.explain(), true)?;
        print_sizes(&mut screen, &load, &advice, arguments)?;
    }
    Ok(!findings::has_errors(&advice.findings))
}

/// Prints how the wait depends on the size, and what to write.
fn print_sizes(
    screen: &mut Screen,
    load: &Load,
    advice: &Advice,
    arguments: &SizeArguments,
) -> io::Result<()> {
    let Some(size) = advice.size else { return Ok(()) };
    screen.line(Tone::Heading, "\npool_size  p99 wait")?;
    for tried in size.saturating_sub(3).max(1)..=size.saturating_add(2) {
        let wait = match load.wait(tried, 0.99) {
            Some(wait) => crate::terminal::format_duration(wait),
            None => "the queue grows without end".to_owned(),
        };
        screen.line(Tone::Plain, &format!("{tried:>9}  {wait}"))?;
    }
    let each = if arguments.replicas > 1 { " of each process" } else { "" };
    let text = format!(
        "\nFor the pool{each}:\n\n{}\nThe formula assumes that callers arrive at random. Measure \
         the hold time of your own service, not that of a single query.",
        spelt(size)
    );
    screen.line(Tone::Plain, &text)
}

fn print_json(advice: &Advice) -> io::Result<()> {
    let output = json!({
        "good": !findings::has_errors(&advice.findings),
        "mean_in_use": advice.mean_in_use,
        "pool_size": advice.size,
        "max_overflow": advice.size.map(guide_max_overflow),
        "findings": findings::to_json(&advice.findings),
    });
    writeln!(io::stdout(), "{output}")
}
