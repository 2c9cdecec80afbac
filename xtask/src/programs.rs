//! `cargo xtask soak`, `rivals` and `deny`: programs that are built and run with the arguments that
//! they are given; the exit code is theirs.

use std::env;
use std::process::{Command, ExitCode};

use crate::cargo;
use crate::servers::{self, Kind};

/// What is passed on.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The program's own arguments; `-- --help` lists them, after a build.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Cuts connections at random, beside the servers that it needs.
pub fn soak(arguments: &Arguments) -> Result<ExitCode, String> {
    let kinds = vec![Kind::Postgres, Kind::Mariadb, Kind::Mysql, Kind::Redis];
    let command = run("soak", "soak", arguments);
    servers::run(&servers::Options { kinds, command, ..servers::Options::default() })
}

/// Races the pools, and starts servers by itself when nothing is measured that they could disturb.
pub fn rivals(arguments: &Arguments) -> Result<ExitCode, String> {
    let command = run("benches", "report", arguments);
    let (program, args) = command.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    cargo::forbid(command.args(args));
    let status = command.status().map_err(|e| format!("could not run `{program}`: {e}"))?;
    Ok(servers::code(status))
}

/// Runs cargo-deny without network access.
pub fn deny() -> Result<ExitCode, String> {
    let root = cargo::workspace_root()?;
    let mut command = Command::new(cargo::tool(&root, "deny")?);
    command.args(["--offline", "check", "bans", "licenses", "sources"]).current_dir(&root);
    let status = command.status().map_err(|e| format!("could not run cargo-deny: {e}"))?;
    Ok(servers::code(status))
}

fn run(package: &str, program: &str, arguments: &Arguments) -> Vec<String> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let run = ["run", "--release", "--quiet", "--package", package, "--bin", program, "--"];
    let words = [cargo].into_iter().chain(run.map(str::to_owned));
    words.chain(arguments.arguments.iter().cloned()).collect()
}
