//! `millpond check`: loads the settings as a service would, and explains them or tells all that is wrong.

use crate::arguments::CheckArguments;
use crate::terminal::{Screen, Tone};
use millpond::{ConnectError, DatabaseConnection, Settings};
use serde_json::json;
use std::error::Error;
use std::io::{self, Write};

/// Explains good settings; bad ones are the error.
pub fn run(arguments: &CheckArguments) -> Result<bool, Box<dyn Error>> {
    let mut loader = Settings::loader();
    if let Some(file) = &arguments.config {
        loader = loader.file(file);
    }
    let settings = loader.clone().load()?;
    let note = note(DatabaseConnection::load(loader).connect_lazy())?;
    if arguments.json {
        json_good(&settings, note)?
    } else {
        good(&settings, note)?
    }
    Ok(true)
}

/// What a user should know although the settings are good. A URL that cannot be used by anybody is an error.
fn note(made: Result<DatabaseConnection, ConnectError>) -> Result<Option<String>, ConnectError> {
    match made {
        // No connection string is no mistake: the settings may be used for Redis alone.
        Ok(_) | Err(ConnectError::NoUrl) => Ok(None),
        // A service may have backends that this command lacks.
        Err(ConnectError::Backend(error)) if error.backend().is_some() => Ok(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

fn good(settings: &Settings, note: Option<String>) -> io::Result<()> {
    let mut screen = Screen::for_people();
    screen.line(Tone::Plain, &settings.explain().to_string())?;
    screen.line(Tone::Good, "\nThe settings are good. Nothing was connected to.")?;
    match note {
        Some(note) => screen.line(Tone::Plain, &format!("Note: {note}.")),
        None => Ok(()),
    }
}

fn json_good(settings: &Settings, note: Option<String>) -> io::Result<()> {
    writeln!(io::stdout(), "{}", json!({ "good": true, "settings": settings.explain().rows, "note": note }))
}
