//! `cargo xtask soak`: starts the servers, builds the soak and runs it; returns its exit code.

use std::process::ExitCode;

use crate::servers::{self, Kind};

/// The arguments of `cargo xtask soak`, which it passes on.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// [--postgres CUTS] [--mariadb CUTS] [--mysql CUTS] [--redis CUTS] [--seed SEED]
    /// [--without-sqlx]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the program with the servers that it needs.
pub fn run(options: &Options) -> Result<ExitCode, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build_and_run =
        "run --release --quiet --package soak --bin soak --".split(' ').map(str::to_owned);
    let command = [cargo].into_iter().chain(build_and_run).chain(options.arguments.iter().cloned());
    servers::run(&servers::Options {
        kinds: vec![Kind::Postgres, Kind::Mariadb, Kind::Mysql, Kind::Redis],
        is_private: false,
        command: command.collect(),
    })
}
