//! The command's arguments and its help.

use clap::{Args, Parser, Subcommand};
use millpond::settings::parse_time;
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Connection pools: see them work, and check their settings.
#[derive(Debug, Parser)]
#[command(name = "millpond", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 success; 1 the settings are invalid, something was found \
    that cannot work, or something failed; 2 the arguments are invalid";

/// The subcommand to run.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run some seconds of load on an embedded SQLite file, cause an overflow, a timeout and a
    /// leak, and check that all counts add up
    Demo(DemoArguments),
    /// Check the settings and show where each comes from; connects to nothing without --connect
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// Connect to every server that the settings name, measure what a connection costs, and report
    /// what does not fit together, with what to do about it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArguments),
    /// Compute the pool that a load needs, by Little's law and Erlang's formula
    #[command(after_help = SIZE_EXAMPLES)]
    Size(SizeArguments),
    /// Drive a pool with queries and print how long callers took
    #[command(after_help = LOAD_EXAMPLES)]
    Load(LoadArguments),
    /// List the presets and the values that each sets
    Presets(PresetsArguments),
    /// Print the completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArguments),
    /// Print the man page
    Man(ManArguments),
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  millpond doctor --replicas 8
  millpond doctor --config app.toml --json
  millpond doctor sqlite:////var/lib/app/app.db

Opens up to 10 connections for some seconds, and changes nothing at the server. A URL on the command
line is visible to other users of this machine: name one with a password in a file or a variable.";

const SIZE_EXAMPLES: &str = "\
Examples:
  millpond size --rate 200 --hold 40ms --wait 5ms
  millpond size --rate 900 --hold 12ms --spread 2 --replicas 4";

const LOAD_EXAMPLES: &str = "\
Examples:
  millpond load --concurrency 50 --seconds 30
  millpond load --rate 500 --query 'SELECT count(*) FROM ponds'
  millpond load --sweep --concurrency 64 --seconds 5 --write millpond.toml
  millpond load redis://localhost --query 'GET mill'

The query is sent again and again, as it is: on a production server that is a load.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  millpond completions bash > /etc/bash_completion.d/millpond
  millpond completions zsh > \"${fpath[1]}/_millpond\"
  millpond completions fish > ~/.config/fish/completions/millpond.fish";

const CHECK_EXAMPLES: &str = "\
Examples:
  millpond check --replicas 8 --max-connections 200
  millpond check --diff millpond.toml.old
  millpond check --config app.toml --prefix APP_";

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

/// Which settings are loaded.
#[derive(Debug, Args)]
pub struct SettingsArguments {
    /// The settings file; without it ./millpond.toml is read if it exists
    #[arg(long, visible_alias = "file", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The prefix of the variables, with its underscore
    #[arg(long, value_name = "PREFIX", default_value = "PSN_")]
    pub prefix: String,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub settings: SettingsArguments,
    #[command(flatten)]
    pub deployment: DeploymentArguments,
    /// Show what differs from this older settings file instead of all settings
    #[arg(long, value_name = "OLD")]
    pub diff: Option<PathBuf>,
    /// Open a connection to every server that the settings name, and report whether a pooler is in
    /// front of it
    #[arg(long)]
    pub connect: bool,
    /// Print a single JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// How often the service runs, and what its server allows.
#[derive(Debug, Args)]
pub struct DeploymentArguments {
    /// How many processes run with these settings: their connections together are compared with
    /// what the server accepts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: Option<u32>,
    /// How many connections the database server accepts (max_connections); without it the default
    /// of such servers is assumed, unless one is asked
    #[arg(long, value_name = "M")]
    pub max_connections: Option<u64>,
    /// How many of --max-connections are reserved for others, such as superusers
    #[arg(long, value_name = "R", requires = "max_connections", default_value_t = 0)]
    pub reserved: u64,
}

/// The settings, or a single URL instead of them.
#[derive(Debug, Args)]
pub struct SourceArguments {
    /// The URL of a database or of Redis, instead of those of the settings; then no file and no
    /// variables are read
    #[arg(value_name = "URL", conflicts_with = "config")]
    pub url: Option<UrlArgument>,
    #[command(flatten)]
    pub settings: SettingsArguments,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    pub source: SourceArguments,
    /// How many processes run with these settings: their connections together are compared with
    /// what each server accepts
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: u32,
    /// Print a single JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// A URL, which may contain a password: not shown by `Debug`.
#[derive(Clone)]
pub struct UrlArgument(pub String);

impl FromStr for UrlArgument {
    type Err = Infallible;

    fn from_str(url: &str) -> Result<Self, Infallible> {
        Ok(Self(url.to_owned()))
    }
}

impl fmt::Debug for UrlArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Arguments of `size`.
#[derive(Debug, Args)]
pub struct SizeArguments {
    /// How many connections are acquired per second, by all processes together
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    pub rate: f64,
    /// How long a connection is held on average, such as 40ms
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub hold: Duration,
    /// The wait for a connection that 99 % of the callers must not exceed
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "10ms")]
    pub wait: Duration,
    /// The spread of the hold times: standard deviation / mean; 0 if all are equal
    #[arg(long, value_name = "RATIO", value_parser = not_negative, default_value_t = 1.0)]
    pub spread: f64,
    /// How many processes share the load
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub replicas: u32,
    #[command(flatten)]
    pub settings: SettingsArguments,
    /// Print a single JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    #[command(flatten)]
    pub source: SourceArguments,
    /// How many tasks send queries at the same time
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrency: u32,
    /// Send this many queries per second, whether or not those before are answered; without it each
    /// task sends the next one when the last is answered
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    pub rate: Option<f64>,
    /// How long the load runs
    #[arg(long, value_name = "S", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Run the load on pools of 1 to --concurrency connections, each for --seconds, and recommend
    /// the smallest that is nearly as fast as the fastest
    #[arg(long, conflicts_with = "rate")]
    pub sweep: bool,
    /// Write the recommended settings to this file, which must not exist yet
    #[arg(long, value_name = "FILE", requires = "sweep")]
    pub write: Option<PathBuf>,
    /// The query, or the command of Redis with its arguments; by default SELECT 1 or PING
    #[arg(long, value_name = "QUERY")]
    pub query: Option<String>,
    /// Print a single JSON object and nothing else
    #[arg(long)]
    pub json: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    let time = parse_time(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "expected a time such as 40ms, 0.5s or 2m".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "expected a number above 0".to_owned())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "expected a number from 0".to_owned())
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArguments {
    /// Write one page for each subcommand to this directory, instead of printing one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// Arguments of `presets`.
#[derive(Debug, Args)]
pub struct PresetsArguments {
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
