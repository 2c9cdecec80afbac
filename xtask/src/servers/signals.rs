//! Ends the process in order on Ctrl-C, `kill`, or the end of the terminal.

use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// From now on a signal to end runs this first, once, on a thread of its own; then the process ends
/// as shells expect it.
pub fn before_end(tidy_up: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("could not listen for signals: {e}");
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let listen = move || {
        if let Some(signal) = signals.forever().next() {
            tidy_up();
            process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
    Ok(())
}
