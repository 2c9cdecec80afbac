//! `cargo xtask soak`: starts the servers, builds the soak and runs it; its exit code is ours.

use std::process::ExitCode;

use crate::servers;

const BUILD_AND_RUN: &str = "run --release --quiet --package soak --bin soak --";

/// Hands the arguments on to the program.
///
/// # Errors
///
/// When a server cannot be started, or the program cannot.
pub fn run(args: &[String]) -> Result<ExitCode, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut words = vec!["postgres".to_owned(), "mariadb".to_owned(), "redis".to_owned(), "--".to_owned(), cargo];
    words.extend(BUILD_AND_RUN.split(' ').map(str::to_owned));
    words.extend_from_slice(args);
    servers::run(&servers::Options::parse(&words)?)
}
