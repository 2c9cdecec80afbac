//! `cargo xtask soak`, `rivals`, `mutants` and `deny`: runs programs with the given arguments and
//! returns their exit code.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::cargo;
use crate::servers::{self, Kind};

/// The arguments of a program.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The program's own arguments; `-- --help` lists them once it is built.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the soak, with the servers that it needs.
pub fn soak(arguments: &Arguments) -> Result<ExitCode, String> {
    let kinds = vec![Kind::Postgres, Kind::Mariadb, Kind::Mysql, Kind::Redis];
    let command = cargo_run("soak", "soak", arguments);
    servers::run(&servers::Options { kinds, command, ..servers::Options::default() })
}

/// Runs the benchmarks, which start servers themselves when they measure nothing.
pub fn rivals(arguments: &Arguments) -> Result<ExitCode, String> {
    let words = cargo_run("benches", "report", arguments);
    let (program, args) = words.split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command.args(args);
    cargo::remove_package_variables(&mut command);
    run(command)
}

/// Runs cargo-mutants as `.cargo/mutants.toml` says; its results are in `target/mutants`.
pub fn mutants(root: &Path, arguments: &Arguments) -> Result<ExitCode, String> {
    let mut command = Command::new(cargo::tool(root, "mutants")?);
    command.args(["mutants", "--package", "millpond-core", "--output"]);
    command.arg(cargo::metadata(root)?.target_directory.join("mutants")).args(&arguments.arguments);
    command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("RUST_BACKTRACE", "0").current_dir(root);
    run(command)
}

/// Runs cargo-deny without network access.
pub fn deny(root: &Path) -> Result<ExitCode, String> {
    let mut command = Command::new(cargo::tool(root, "deny")?);
    command.args(["--offline", "check", "bans", "licenses", "sources"]).current_dir(root);
    run(command)
}

fn run(mut command: Command) -> Result<ExitCode, String> {
    let program = command.get_program().display().to_string();
    let status = command.status().map_err(|e| format!("could not run `{program}`: {e}"))?;
    Ok(servers::code(status))
}

/// Returns the command that builds and runs a program of this workspace.
fn cargo_run(package: &str, program: &str, arguments: &Arguments) -> Vec<String> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let run = ["run", "--release", "--quiet", "--package", package, "--bin", program, "--"];
    let words = [cargo].into_iter().chain(run.map(str::to_owned));
    words.chain(arguments.arguments.iter().cloned()).collect()
}
