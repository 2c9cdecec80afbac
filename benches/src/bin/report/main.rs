//! Run by `cargo xtask rivals`: runs the programs of `benches` that measure the pools; prints,
//! writes and judges the results.
//!
//! It builds first and measures afterwards, one pool at a time, pinned to one or two cores if
//! `taskset` exists. An error is a `String` for the terminal.

mod compile;
mod goals;
mod machine;
mod page;
mod picture;
mod programs;
mod promises;
mod race;
mod results;
mod rows;
mod table;

use std::process::ExitCode;

use clap::Parser;

/// Races millpond against other pools: 6 minutes, or two with --quick.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask rivals")]
struct Options {
    /// Prints a line of JSON for each row and pool, and nothing else.
    #[arg(long)]
    json: bool,
    /// Runs short rounds, whose figures are not for publishing.
    #[arg(long, conflicts_with = "compile")]
    quick: bool,
    /// Writes docs/performance.md and its pictures, or docs/comparison.md with --promises.
    #[arg(long)]
    write: bool,
    /// Fails if a goal is missed.
    #[arg(long, conflicts_with = "compile")]
    check: bool,
    /// Counts the crates and times clean builds of millpond-core, deadpool and bb8 instead.
    #[arg(long)]
    compile: bool,
    /// Shows instead how the pools keep their promises when servers hang, callers leave and pools
    /// are resized.
    #[arg(long, conflicts_with_all = ["json", "quick", "check", "compile"])]
    promises: bool,
}

/// Runs the race; returns `Ok(false)` if --check was given and a goal was missed.
fn run(options: &Options) -> Result<bool, String> {
    let root = programs::workspace_root();
    if options.promises {
        return promises::run(&root, options.write).map(|()| true);
    }
    let results = if options.compile {
        compile::measure(&root)?
    } else {
        programs::build(&root, &["--release", "--bins"])?;
        race::run(options.quick)?
    };
    if options.json {
        let json = |line| serde_json::to_string(line).map_err(|e| format!("no JSON: {e}"));
        results.lines().iter().try_for_each(|line| json(line).map(|line| println!("{line}")))?;
    } else {
        println!("{}", table::render(&results));
    }
    match (options.write, options.compile) {
        (true, false) => page::write(&root, &results, options.quick)?,
        (true, true) => page::write_weight(&root, &results)?,
        (false, _) => {}
    }
    let judged = options.check.then(|| goals::judge(&results));
    if let Some((report, _)) = &judged {
        // With --json, standard output contains only JSON.
        if options.json { eprintln!("{report}") } else { println!("{report}") }
    }
    Ok(judged.is_none_or(|(_, reached)| reached))
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("rivals: {why}");
            ExitCode::FAILURE
        }
    }
}
