//! Ctrl-C and `TERM`: received once and passed to the running part of the program.

use std::io;
use std::process;
use tokio::sync::watch;

/// The exit code of a program that a user has ended by force, as shells know it.
const INTERRUPTED: i32 = 130;

/// Says whether the user wants the program to end.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Starts to listen, on the current runtime. From now on Ctrl-C does not end the process by
    /// itself; only the second one does, after `last` has tidied up.
    ///
    /// # Errors
    ///
    /// If the system does not let us listen.
    pub fn listen(last: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = watch::channel(false);
        let mut signals = Signals::new()?;
        tokio::spawn(async move {
            signals.next().await;
            // Nobody hears it if the program is at its end anyway.
            let _ = sender.send(true);
            signals.next().await;
            last();
            process::exit(INTERRUPTED);
        });
        Ok(Self(receiver))
    }

    /// Whether the user wants an end.
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow()
    }

    /// Ends when the user wants an end.
    pub async fn wanted(&mut self) {
        if self.0.wait_for(|wanted| *wanted).await.is_err() {
            // The listener is gone without a signal: there will be none.
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
