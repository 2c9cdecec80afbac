//! The command that uses the servers: waits for it, and ends it on a signal.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::processes::{self, poll};

/// The time to end after Ctrl-C, which the terminal sends to the command as well.
const OWN_END_MAX: Duration = Duration::from_millis(1500);

/// The time to end after `TERM`.
const TERM_END_MAX: Duration = Duration::from_secs(5);

/// The command, if one was started.
#[derive(Debug, Default)]
pub struct Foreground(Mutex<Option<Child>>);

impl Foreground {
    /// Starts the command. It is in this process group, so it may read from the terminal and gets
    /// Ctrl-C.
    pub fn start(&self, command: &mut Command) -> io::Result<()> {
        // Under the lock, so that an interruption finds either no command or this one.
        let mut slot = self.slot();
        *slot = Some(command.spawn()?);
        Ok(())
    }

    /// Waits for the command to end.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        // Polled, because an interruption needs the lock.
        poll(Duration::MAX, || self.status().transpose())
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends the command and its descendants: waits, sends `TERM`, then kills.
    pub fn interrupt(&self) {
        let has_ended = || !matches!(self.status(), Ok(None));
        let steps = [(OWN_END_MAX, &[Signal::SIGTERM][..]), (TERM_END_MAX, &[Signal::SIGKILL])];
        processes::end(has_ended, || self.family(), &steps);
    }

    fn status(&self) -> io::Result<Option<ExitStatus>> {
        self.slot().as_mut().ok_or_else(|| io::Error::other("no command was started"))?.try_wait()
    }

    /// Returns the command and its descendants.
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

    #[test]
    fn wait_returns_the_status_of_the_command() {
        let foreground = Foreground::default();
        foreground.start(Command::new("sh").args(["-c", "exit 7"])).unwrap();
        assert_eq!(foreground.wait().unwrap().code(), Some(7));
    }

    #[test]
    fn an_interruption_without_a_command_does_nothing() {
        Foreground::default().interrupt();
        assert!(Foreground::default().wait().is_err());
    }

    #[test]
    fn an_interruption_also_ends_processes_that_the_command_started() {
        let foreground = Foreground::default();
        foreground.start(Command::new("sh").args(["-c", "sleep 60 & wait"])).unwrap();
        let family =
            poll(TERM_END_MAX, || Some(foreground.family()).filter(|family| family.len() > 1))
                .unwrap();
        foreground.interrupt();
        assert!(!foreground.wait().unwrap().success());
        // Ended, or waiting to be reaped by its new parent.
        let has_ended = |stat: String| stat.is_empty() || stat.contains(") Z ");
        let stat =
            || std::fs::read_to_string(format!("/proc/{}/stat", family[1])).unwrap_or_default();
        assert!(poll(TERM_END_MAX, || has_ended(stat()).then_some(())).is_some());
    }
}
