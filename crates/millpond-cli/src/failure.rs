//! Prints a failure: every problem of the settings, or a single line for any other error.

use crate::findings;
use millpond::{ConnectError, SettingsError};
use serde_json::json;
use std::error::Error;
use std::io::{self, Write};

/// Prints why the program failed: as JSON on standard output, or as text on standard error.
///
/// # Errors
///
/// Returns an error if the output cannot be written.
pub fn print(error: &(dyn Error + 'static), json: bool) -> io::Result<()> {
    let problems = settings_error(error);
    if json {
        let problems = problems.map(|error| &error.problems);
        return writeln!(
            io::stdout(),
            "{}",
            json!({ "good": false, "error": error.to_string(), "problems": problems })
        );
    }
    let mut out = io::stderr().lock();
    let Some(SettingsError { problems, .. }) = problems else {
        return writeln!(out, "millpond: {error}");
    };
    writeln!(out, "millpond: {} with the settings:", count(problems.len()))?;
    problems.iter().try_for_each(|problem| {
        let mut problem = problem.clone();
        problem.source = findings::spelt_source(&problem.source).to_owned();
        writeln!(out, "- {problem}")
    })
}

/// Returns true if the error only means that the reader has closed our output.
pub fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn settings_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a SettingsError> {
    match error.downcast_ref() {
        Some(ConnectError::Settings(error)) => Some(error),
        _ => error.downcast_ref(),
    }
}

fn count(problems: usize) -> String {
    match problems {
        1 => "1 problem".to_owned(),
        more => format!("{more} problems"),
    }
}
