//! The chores of this workspace: `cargo xtask test`, `tidy`, `servers`, `sim`, `models`, `mutants`, `soak` and `rivals`.

#![expect(clippy::disallowed_methods, reason = "servers are polled until they answer or have ended")]

mod cargo;
mod models;
mod mutants;
mod rivals;
mod servers;
mod sim;
mod soak;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--fast] [--no-servers] [--no-install] [-- <filter>..]
                  tidy, fmt, clippy, every test and the docs; --fast runs the tests alone, --no-servers without
                  the database servers they need, --no-install without installing packages for these;
                  what follows -- goes to the test binaries, such as a test's name
  tidy            the house rules a machine can check; CONTRIBUTING.md lists them
  servers [<kind>..] [--private] [-- <command> [<argument>..]]
                  starts database servers to test against, prints what they are called by and runs until Ctrl-C, or
                  until the command has ended that is run with it set; CONTRIBUTING.md lists kinds and variables
  sim [--steps <n>] [--seed <n>] [--pool]
                  the pool's ledger, or with --pool the whole pool, in worlds made of chance, every invariant checked
                  after every step; 10^7 steps of the ledger, 10^5 of the pool from a fresh seed, if not told otherwise
  models          every order in which a few threads can meet in the pool's hand-off, tried and counted
  mutants [<file>..] [--part <n>/<of>] [--again] [--anew]
                  breaks the core in every small way there is and says which no test has noticed: hours. What was found
                  is kept, so it may be ended and taken up again; --part does a part of it, --again judges those alive
                  once more, --anew everything
  soak [--postgres CUTS] [--mariadb CUTS] [--seed SEED] [--without-sqlx]
                  random cuts against real servers, 100,000 on PostgreSQL and 10,000 on MariaDB: no wrong answer, no
                  stale transaction, no lost place, or it ends with 1; sqlx's own pool beside ours
  rivals [--quick] [--json] [--check] [--write]
                  millpond and other pools against each other, 6 minutes, or two if quick; --json prints a
                  line for each row and pool, --check fails if a goal is missed, --write renews docs/performance.md
  rivals --compile [--json] [--write]
                  the crates and the clean build time of millpond-core, deadpool and bb8
  rivals --promises [--write]
                  what becomes of promises when servers hang, callers go away and pools are resized: millpond and
                  four others in one set of scenarios; --write renews docs/comparison.md
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.split_first() {
        Some((command, rest)) if command == "test" => match test::Options::parse(rest) {
            Ok(options) => test::run(&options),
            Err(why) => return refuse(&why),
        },
        Some((command, rest)) if command == "rivals" => match rivals::Options::parse(rest) {
            Ok(options) => rivals::run(&options),
            Err(why) => return refuse(&why),
        },
        Some((command, rest)) if command == "sim" => match sim::Options::parse(rest) {
            Ok(options) => sim::run(&options),
            Err(why) => return refuse(&why),
        },
        Some((command, rest)) if command == "mutants" => match mutants::Options::parse(rest) {
            Ok(options) => mutants::run(&options),
            Err(why) => return refuse(&why),
        },
        Some((command, [])) if command == "models" => models::run(),
        Some((command, [])) if command == "tidy" => tidy::run(),
        Some((command, [extra, ..])) if command == "tidy" || command == "models" => {
            return refuse(&format!("`{command}` takes no arguments, but got `{extra}`"));
        }
        Some((command, rest)) if command == "soak" => return soak::run(rest).unwrap_or_else(|why| fail(&why)),
        Some((command, rest)) if command == "servers" => match servers::Options::parse(rest) {
            Ok(options) => return servers::run(&options).unwrap_or_else(|why| fail(&why)),
            Err(why) => return refuse(&why),
        },
        Some((command, _)) => return refuse(&format!("there is no command `{command}`")),
        None => return refuse("which command?"),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    eprintln!("xtask: {why}");
    ExitCode::FAILURE
}

/// The caller asked for something there is not: says so, shows what there is, and ends with 2.
fn refuse(why: &str) -> ExitCode {
    eprintln!("xtask: {why}\n\n{USAGE}");
    ExitCode::from(2)
}
