//! Prints a failure: every problem of the settings, or a single line for any other error.

use crate::findings;
use millpond::{ConnectError, SettingsError};
use serde_json::json;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

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

/// Prints what is wrong with the arguments, without the password of a URL among them, or the help
/// that was asked for. Returns the exit code.
pub fn print_usage(error: &clap::Error) -> ExitCode {
    // If this cannot be printed, there is nothing left to do.
    let _ = if error.use_stderr() {
        let text = error.render().to_string();
        text.lines().try_for_each(|line| writeln!(io::stderr(), "{}", without_login(line)))
    } else {
        error.print()
    };
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Hides what is between `://` and the last `@` of a line.
fn without_login(line: &str) -> String {
    match line.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (_, host))) => format!("{scheme}://***@{host}"),
        None => line.to_owned(),
    }
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
