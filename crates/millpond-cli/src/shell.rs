//! `millpond completions` and `millpond man`: what shells and man know of the command, from the
//! same definitions as its help.

use crate::arguments::{Arguments, CompletionsArguments, ManArguments};
use clap::CommandFactory;
use std::error::Error;
use std::io::{self, Write};

/// Prints the completions for a shell.
///
/// # Errors
///
/// Returns an error if standard output cannot be written.
pub fn completions(arguments: &CompletionsArguments) -> Result<bool, Box<dyn Error>> {
    // Into memory first: clap panics if it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "millpond", &mut script);
    io::stdout().write_all(&script)?;
    Ok(true)
}

/// Prints the man page of the command, or writes those of all subcommands to a directory.
///
/// # Errors
///
/// Returns an error if standard output or the directory cannot be written.
pub fn man(arguments: &ManArguments) -> Result<bool, Box<dyn Error>> {
    let command = Arguments::command();
    match &arguments.dir {
        Some(dir) => clap_mangen::generate_to(command, dir)?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            io::stdout().write_all(&page)?;
        }
    }
    Ok(true)
}
