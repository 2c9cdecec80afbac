//! One program to start: with whose rights, where, and how it is asked to stop.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::run_as::RunAs;
use super::variables::quoted;

/// How much of a log is shown when a server failed.
const TAIL_LINES: usize = 60;

/// A program, not started yet.
#[derive(Debug, Clone)]
pub struct Process {
    /// Unique within its home; the log is named after it.
    pub name: String,
    pub account: RunAs,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// Its working directory, by which it is known to be ours.
    pub home: PathBuf,
    /// The signal that makes it end at once and in order. It gets the same one if we die.
    pub stop: Signal,
}

impl Process {
    /// A server that ends in order on `TERM`.
    pub fn server(name: &str, account: &RunAs, program: &Path, home: &Path) -> Self {
        Self {
            name: name.to_owned(),
            account: account.clone(),
            program: program.to_owned(),
            args: Vec::new(),
            home: home.to_owned(),
            stop: Signal::SIGTERM,
        }
    }

    /// A helper that ends by itself; what it leaves half done is thrown away.
    pub fn helper(name: &str, account: &RunAs, program: &Path, home: &Path) -> Self {
        Self { stop: Signal::SIGKILL, ..Self::server(name, account, program, home) }
    }

    /// More arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Where its output goes.
    pub fn log(&self) -> PathBuf {
        self.home.join(format!("{}.log", self.name))
    }

    /// What a shell needs to start it again.
    pub fn shell_line(&self) -> String {
        self.words().iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// The command, with its output going to the log.
    pub fn command(&self) -> io::Result<Command> {
        let log = File::create(self.log())?;
        let words = self.words();
        let (program, args) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.home);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A developer's PGOPTIONS or MYSQL_HOST must not change what we start. The messages are
        // searched in English.
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        // Ctrl-C at a terminal goes to our group, and the servers must outlive the tests that use
        // them.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }

    fn words(&self) -> Vec<String> {
        let mut words = self.account.prefix(self.stop);
        words.push(self.program.display().to_string());
        words.extend(self.args.iter().cloned());
        words
    }
}

/// The end of a log, each line set in, after a line that names it; empty if nothing was written.
pub fn tail(log: &Path) -> String {
    let text =
        fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
    if last.is_empty() {
        return String::new();
    }
    let shown: String = last.iter().map(|line| format!("\n    {line}")).collect();
    format!("\n  the end of {}:{shown}", log.display())
}
