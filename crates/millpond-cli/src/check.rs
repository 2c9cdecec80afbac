//! `millpond check`: loads the settings as a service would, and explains them or reports everything
//! that is wrong with them.

use crate::arguments::CheckArguments;
use crate::reach::{self, Reached};
use crate::terminal::{Screen, Tone};
use millpond::{ConnectError, DatabaseConnection, Settings};
use serde_json::json;
use std::error::Error;
use std::io::{self, Write};

/// Explains valid settings. Invalid settings are an error, and so is a server that cannot be
/// reached.
pub fn run(arguments: &CheckArguments) -> Result<bool, Box<dyn Error>> {
    let mut loader = Settings::loader();
    if let Some(file) = &arguments.config {
        loader = loader.file(file);
    }
    // A URL without a backend is an error, even if the settings are otherwise valid: this command
    // has every backend, so no service could use the URL, and a deployment check must not let it
    // pass.
    let settings = match DatabaseConnection::load(loader.clone()).connect_lazy() {
        Ok(database) => database.settings().clone(),
        // A missing connection string is valid: the settings may be for Redis alone.
        Err(ConnectError::NoUrl) => loader.clone().load()?,
        Err(error) => return Err(error.into()),
    };
    let reached = if arguments.connect { Some(reach::servers(&loader, &settings)?) } else { None };
    match arguments.json {
        true => json_good(&settings, reached.as_deref())?,
        false => good(&settings, reached.as_deref())?,
    }
    Ok(true)
}

fn good(settings: &Settings, reached: Option<&[Reached]>) -> io::Result<()> {
    let mut screen = Screen::for_people();
    screen.line(Tone::Plain, &settings.explain().to_string())?;
    let Some(reached) = reached else {
        return screen.line(
            Tone::Good,
            "\nThe settings are valid. No server was connected to; use --connect for that.",
        );
    };
    for server in reached {
        screen.line(Tone::Plain, &format!("\n{}", server.line()))?;
        server
            .warnings
            .iter()
            .try_for_each(|warning| screen.line(Tone::Bad, &format!("warning: {warning}")))?;
    }
    let all = match reached.iter().any(|server| server.missing.is_some()) {
        true => "\nThe settings are valid.",
        false => "\nThe settings are valid, and every server that they name can be reached.",
    };
    screen.line(Tone::Good, all)
}

fn json_good(settings: &Settings, reached: Option<&[Reached]>) -> io::Result<()> {
    let explanation = settings.explain();
    let mut good =
        json!({ "good": true, "settings": explanation.rows, "warnings": explanation.warnings });
    if let Some(reached) = reached {
        good["connected"] = reached.iter().map(Reached::to_json).collect();
    }
    writeln!(io::stdout(), "{good}")
}
