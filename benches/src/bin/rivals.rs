//! Times the pools against each other; prints a line of JSON for each row and pool. Started by
//! `cargo xtask rivals`, which pins it to one or two cores: `rivals gate|one|two [--quick]
//! [--processes N] [--without NAME]..`.

use benches::competitor::Effort;
use benches::entrant::Entrant;
use benches::race::{Outcome, race};
use benches::work::alone::Alone;
use benches::work::crowd::Crowd;
use benches::work::growth::{Places, Waiters};
use benches::work::spike::Spike;
use std::env;
use std::num::NonZeroU32;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let whole = if args.iter().any(|arg| arg == "--quick") { Effort::QUICK } else { Effort::FULL };
    // The number of processes that share the rounds.
    let processes = args
        .windows(2)
        .find(|pair| pair[0] == "--processes")
        .map_or(Ok(NonZeroU32::MIN), |pair| pair[1].parse());
    let Ok(processes) = processes else {
        eprintln!("rivals: `--processes` wants a number from 1 on");
        return ExitCode::from(2);
    };
    let effort = Effort { rounds: whole.rounds.div_ceil(processes.get()), ..whole };
    let left_out: Vec<&String> =
        args.windows(2).filter(|pair| pair[0] == "--without").map(|pair| &pair[1]).collect();
    let entrants: Vec<Entrant> = Entrant::ALL
        .into_iter()
        .filter(|entrant| left_out.iter().all(|name| *name != entrant.name()))
        .collect();
    match args.first().map(String::as_str) {
        Some("gate") => gate(),
        Some("one") => on_one_core(&entrants, &effort),
        Some("two") => on_two_cores(&entrants, &effort),
        _ => {
            eprintln!("usage: rivals gate|one|two [--quick] [--processes N] [--without NAME]..");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn gate() {
    for entrant in only_default(&Entrant::ALL) {
        let verdict = entrant.passes_the_gate();
        if let Err(why) = &verdict {
            eprintln!("rivals: {} failed its gate and is not timed: {why}", entrant.name());
        }
        Outcome::of_the_gate(entrant.name(), verdict.is_ok()).print();
    }
}

fn on_one_core(entrants: &[Entrant], effort: &Effort) {
    let defaults = only_default(entrants);
    race(&Alone { row: "uncontended", workers: 1, budget: false }, entrants, effort);
    race(&Alone { row: "uncontended_coop", workers: 1, budget: true }, &defaults, effort);
    let crowd = Crowd { row: "", fairness: None, tasks: 64, workers: 1, holds: true };
    race(
        &Crowd { row: "hold64_core1", fairness: Some("fairness64_core1"), ..crowd },
        &defaults,
        effort,
    );
    race(
        &Crowd { row: "hold256_core1", fairness: Some("fairness256_core1"), tasks: 256, ..crowd },
        &defaults,
        effort,
    );
    race(&Places, &defaults, effort);
    race(&Waiters, &defaults, effort);
}

fn on_two_cores(entrants: &[Entrant], effort: &Effort) {
    let defaults = only_default(entrants);
    race(&Alone { row: "uncontended_core2", workers: 2, budget: false }, entrants, effort);
    let crowd = Crowd { row: "", fairness: None, tasks: 2, workers: 2, holds: false };
    race(&Crowd { row: "threads2", ..crowd }, &defaults, effort);
    let crowd = Crowd { holds: true, ..crowd };
    race(
        &Crowd { row: "hold64", fairness: Some("fairness64"), tasks: 64, ..crowd },
        &defaults,
        effort,
    );
    race(
        &Crowd { row: "hold256", fairness: Some("fairness256"), tasks: 256, ..crowd },
        &defaults,
        effort,
    );
    race(&Spike { row: "spike", time: "spike_time", one_by_one: false }, &defaults, effort);
    let ours: Vec<Entrant> =
        defaults.into_iter().filter(|entrant| *entrant == Entrant::Millpond).collect();
    race(&Spike { row: "spike_one", time: "spike_one_time", one_by_one: true }, &ours, effort);
}

/// Returns the entrants without observers and metrics.
fn only_default(entrants: &[Entrant]) -> Vec<Entrant> {
    entrants.iter().copied().filter(|entrant| entrant.is_default()).collect()
}
