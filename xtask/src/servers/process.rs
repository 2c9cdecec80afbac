//! A program to start: its user, its directory, and the signal that ends it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use super::run_as::RunAs;
use super::variables::quoted;

/// The number of lines of a log that an error shows.
const TAIL_LINES: usize = 60;

/// A program, not started yet.
#[derive(Debug, Clone)]
pub struct Process {
    /// Unique within `home`; the log is named after it.
    pub name: String,
    pub user: RunAs,
    pub program: PathBuf,
    pub args: Vec<String>,
    /// The working directory, by which a server is recognised.
    pub home: PathBuf,
    /// The signal that ends it at once. It also gets this signal if this process is killed.
    pub stop: Signal,
}

impl Process {
    /// Returns a server that ends on `TERM`.
    pub fn server(name: &str, user: &RunAs, program: &Path, home: &Path) -> Self {
        Self {
            name: name.to_owned(),
            user: user.clone(),
            program: program.to_owned(),
            args: Vec::new(),
            home: home.to_owned(),
            stop: Signal::SIGTERM,
        }
    }

    /// Returns a helper, which ends by itself and may be killed at any time.
    pub fn helper(name: &str, user: &RunAs, program: &Path, home: &Path) -> Self {
        Self { stop: Signal::SIGKILL, ..Self::server(name, user, program, home) }
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Returns the file of its output.
    pub fn log(&self) -> PathBuf {
        self.home.join(format!("{}.log", self.name))
    }

    /// Returns a shell command that starts it again.
    pub fn shell_line(&self) -> String {
        self.words().iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// Returns the command, with its output written to the log.
    pub fn command(&self) -> io::Result<Command> {
        let log = File::create(self.log())?;
        let words = self.words();
        let (program, args) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.home);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Variables of a developer, such as PGOPTIONS or MYSQL_HOST, must not have an effect. Logs
        // are searched for English messages.
        command
            .env_clear()
            .env("LC_ALL", "C")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        // Ctrl-C at a terminal is sent to the process group of xtask, and the servers must outlive
        // the tests that use them.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }

    fn words(&self) -> Vec<String> {
        let mut words = self.user.prefix(self.stop);
        words.push(self.program.display().to_string());
        words.extend(self.args.iter().cloned());
        words
    }
}

/// Returns the end of a log, indented, with a heading; empty if nothing was written.
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
