//! Ends the process on Ctrl-C, `kill`, or the end of the terminal, after cleaning up.

use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Runs `clean_up` at the first signal to end, on a separate thread, and then ends the process with
/// the exit code that shells expect.
pub fn before_end(clean_up: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("could not listen for signals: {e}");
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let listen = move || {
        if let Some(signal) = signals.forever().next() {
            clean_up();
            process::exit(128 + signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).map_err(failed)?;
    Ok(())
}
