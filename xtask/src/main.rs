//! The chores of this workspace: `cargo xtask test` and `cargo xtask tidy`.

mod cargo;
mod test;
mod tidy;

use std::env;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--fast] [-- <filter>..]   tidy, fmt, clippy, every test and the docs; --fast runs the tests alone;
                                  what follows -- goes to the test binaries, such as the name of a test
  tidy                            the house rules a machine can check; CONTRIBUTING.md lists them
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.split_first() {
        Some((command, rest)) if command == "test" => match test::Options::parse(rest) {
            Ok(options) => test::run(&options),
            Err(why) => return refuse(&why),
        },
        Some((command, [])) if command == "tidy" => tidy::run(),
        Some((command, [extra, ..])) if command == "tidy" => {
            return refuse(&format!("`tidy` takes no arguments, but got `{extra}`"));
        }
        Some((command, _)) => return refuse(&format!("there is no command `{command}`")),
        None => return refuse("which command?"),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The caller asked for something there is not: says so, shows what there is, and ends with 2.
fn refuse(why: &str) -> ExitCode {
    eprintln!("xtask: {why}\n\n{USAGE}");
    ExitCode::from(2)
}
