//! The `millpond` command: parses its arguments, runs the subcommand, and sets the exit code.
//!
//! 0: success. 1: the settings are invalid, something was found that cannot work, the counts do not
//! add up, or something failed. 2: the arguments are invalid.

mod arguments;
mod balance;
mod check;
mod demo;
mod doctor;
mod drive;
mod failure;
mod findings;
mod histogram;
mod interrupt;
mod load;
mod observer;
mod presets;
mod reach;
mod scratch;
mod shell;
mod size;
mod table;
mod terminal;

use arguments::{Arguments, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return failure::print_usage(&error),
    };
    let (outcome, json) = match &arguments.command {
        Command::Demo(arguments) => (demo::run(arguments), arguments.json),
        Command::Check(arguments) => (check::run(arguments), arguments.json),
        Command::Doctor(arguments) => (doctor::run(arguments), arguments.json),
        Command::Size(arguments) => (size::run(arguments), arguments.json),
        Command::Load(arguments) => (drive::run(arguments), arguments.json),
        Command::Presets(arguments) => (presets::run(arguments), arguments.json),
        Command::Completions(arguments) => (shell::completions(arguments), false),
        Command::Man(arguments) => (shell::man(arguments), false),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // The reader of our output has closed the pipe: `millpond check | head -1`.
        Err(error) if failure::is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            // If this cannot be printed either, there is nothing left to do.
            let _ = failure::print(&*error, json);
            ExitCode::FAILURE
        }
    }
}
