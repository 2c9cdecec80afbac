//! What can be asked of the command, and its help.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Connection pools: see them work, and check their settings.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run some seconds of load on an embedded SQLite file, provoke an overflow, a timeout and a
    /// leak, and add up
    Demo(DemoArguments),
    /// Check the settings and say where each comes from; nothing is connected to without --connect
    Check(CheckArguments),
}

/// How the demo runs.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// How long readers and writers work
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Keep the database in this file, which must not exist yet; without it a temporary one is used
    /// and removed
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// What is checked.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The settings file; without it ./millpond.toml is read if it is there
    #[arg(long, visible_alias = "file", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Open a connection to every server that the settings name, and say whether a pooler is in
    /// front of it
    #[arg(long)]
    pub connect: bool,
    /// Print one JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_contradict_nothing() {
        Arguments::command().debug_assert();
    }
}
