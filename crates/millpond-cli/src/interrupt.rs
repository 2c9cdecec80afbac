//! Handles Ctrl-C and `TERM`, and passes them to the running part of the program.

use std::io;
use std::process;
use tokio::sync::watch;

/// The exit code for an interrupted program, by the convention of shells.
const INTERRUPTED: i32 = 130;

/// Reports whether the user has interrupted the program.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Starts to handle signals on the current runtime. From now on the first signal does not end
    /// the process; the second one does, after `last` has cleaned up.
    ///
    /// # Errors
    ///
    /// Returns an error if the system refuses the signal handler.
    pub fn listen(last: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        let mut signals = Signals::new()?;
        tokio::spawn(async move {
            signals.next().await;
            // No receiver is left if the program is about to end anyway.
            let _ = sender.send(true);
            signals.next().await;
            last();
            process::exit(INTERRUPTED);
        });
        Ok(Self(receiver))
    }

    /// Returns true if the user has interrupted the program.
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until the user interrupts the program.
    pub async fn wanted(&mut self) {
        if self.0.wait_for(|wanted| *wanted).await.is_err() {
            // The handler is gone without a signal, so none will come.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
