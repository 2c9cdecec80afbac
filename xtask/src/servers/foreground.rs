//! The one command that uses the servers: it is waited for here, and interrupted when we are.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::processes;

/// How long the command may take to end after Ctrl-C: a terminal has told it already.
const OWN_END_MAX: Duration = Duration::from_millis(1500);

/// How long it may take after `TERM`.
const TOLD_END_MAX: Duration = Duration::from_secs(5);

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The command, if one runs.
#[derive(Debug, Default)]
pub struct Foreground(Mutex<Option<Child>>);

impl Foreground {
    /// Starts the command. It is in our process group: it may read from the terminal, and hears Ctrl-C.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(&self, command: &mut Command) -> io::Result<()> {
        // Under the lock, so that an interruption finds either no command or this one.
        let mut slot = self.slot();
        *slot = Some(command.spawn()?);
        Ok(())
    }

    /// Waits for the command to end.
    ///
    /// # Errors
    ///
    /// When there is none, or the system does not tell.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            // Not waited for in one go: the lock must be free for an interruption.
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Ends the command and what it started: it is left alone first, then told to, then killed.
    pub fn interrupt(&self) {
        if self.ends_within(OWN_END_MAX) {
            return;
        }
        processes::signal("TERM", &self.family());
        if !self.ends_within(TOLD_END_MAX) {
            processes::signal("KILL", &self.family());
        }
    }

    fn ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if !matches!(self.status(), Ok(None)) {
                return true;
            }
            thread::sleep(LOOK_EVERY);
        }
        false
    }

    fn status(&self) -> io::Result<Option<ExitStatus>> {
        self.slot().as_mut().ok_or_else(|| io::Error::other("no command runs"))?.try_wait()
    }

    /// The command and its descendants.
    fn family(&self) -> Vec<u32> {
        let pid = self.slot().as_ref().map(Child::id);
        pid.map(processes::family).unwrap_or_default()
    }

    fn slot(&self) -> MutexGuard<'_, Option<Child>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither gone nor waiting for somebody to ask how it ended.
    fn is_running(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[test]
    fn the_status_is_that_of_the_command() {
        let foreground = Foreground::default();
        foreground.start(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(foreground.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn without_a_command_there_is_nothing_to_interrupt() {
        Foreground::default().interrupt();
        assert!(Foreground::default().wait().is_err());
    }

    #[test]
    fn an_interruption_ends_what_the_command_started_too() {
        let foreground = Foreground::default();
        foreground.start(Command::new("sh").args(["-c", "sleep 60 & wait"])).unwrap();
        while foreground.family().len() < 2 {
            thread::yield_now();
        }
        let family = foreground.family();
        foreground.interrupt();
        assert!(!foreground.wait().unwrap().success());
        let deadline = Instant::now() + TOLD_END_MAX;
        while is_running(family[1]) {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }
}
