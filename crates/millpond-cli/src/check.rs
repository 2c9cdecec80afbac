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
    // A URL for which there is no backend is an error, though its settings may be fine: this command has every backend that
    // there is, so no service could use it, and what guards a deployment must not let it pass.
    let settings = match DatabaseConnection::load(loader.clone()).connect_lazy() {
        Ok(database) => database.settings().clone(),
        // No connection string is no mistake: the settings may be used for Redis alone.
        Err(ConnectError::NoUrl) => loader.load()?,
        Err(error) => return Err(error.into()),
    };
    match arguments.json {
        true => json_good(&settings)?,
        false => good(&settings)?,
    }
    Ok(true)
}

fn good(settings: &Settings) -> io::Result<()> {
    let mut screen = Screen::for_people();
    screen.line(Tone::Plain, &settings.explain().to_string())?;
    screen.line(Tone::Good, "\nThe settings are good. Nothing was connected to.")
}

fn json_good(settings: &Settings) -> io::Result<()> {
    writeln!(io::stdout(), "{}", json!({ "good": true, "settings": settings.explain().rows }))
}
