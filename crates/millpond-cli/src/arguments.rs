//! The command's arguments and its help.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Connection pools: see them work, and check their settings.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommand to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run some seconds of load on an embedded SQLite file, cause an overflow, a timeout and a
    /// leak, and check that all counts add up
    Demo(DemoArguments),
    /// Check the settings and show where each comes from; connects to nothing without --connect
    Check(CheckArguments),
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// How long readers and writers work
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Keep the database in this file, which must not exist yet; without it a temporary file is
    /// used and removed
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Print a single JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// The settings file; without it ./millpond.toml is read if it exists
    #[arg(long, visible_alias = "file", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Open a connection to every server that the settings name, and report whether a pooler is in
    /// front of it
    #[arg(long)]
    pub connect: bool,
    /// Print a single JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_argument_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }
}
