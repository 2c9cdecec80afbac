//! The deadline thread: one thread for the process, which wakes long waiters so that they set a
//! timer.
//!
//! Most waits end within microseconds, and a timer costs more than the rest of such a wait. So a
//! waiter begins without one; if it still waits after [`TIMER_AFTER`], the thread wakes it once and
//! it sets its timer. (With a timer from the start `hold64_core1` serves 2.3 M/s, not 4.1 M/s:
//! `benches`, `--quick`.) This is a thread and not a task, since a task may be stuck behind another
//! one that blocks its worker, and deadlines must apply then too. The thread sleeps while no caller
//! waits. Where no thread can be started, and where tokio's clock is paused, waiters set their
//! timers at once.

use crate::catch_panic;
use std::process;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a waiter goes without a timer, and how often the thread checks. A caller that waits
/// this long waits a little longer, so it should be fewer than one wait in a thousand.
pub const TIMER_AFTER: Duration = Duration::from_millis(250);

/// Wakes the waiters of one pool that have waited long enough; returns false if no waiter is left
/// to wake.
pub type Round = Box<dyn Fn() -> bool + Send>;

/// The thread of this process. A forked child has none of its parent's threads.
static THREAD: Mutex<Option<(u32, Sender<Round>)>> = Mutex::new(None);

/// Registers a pool until one of its rounds returns false. Returns false if there is no thread.
pub fn register(round: Round) -> bool {
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if thread.as_ref().is_none_or(|(process, _)| *process != process::id()) {
        let (sender, inbox) = channel();
        let spawned =
            thread::Builder::new().name("millpond-deadlines".to_owned()).spawn(move || run(&inbox));
        *thread = spawned.is_ok().then(|| (process::id(), sender));
    }
    thread.as_ref().is_some_and(|(_, sender)| sender.send(round).is_ok())
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which is not in any test")]
fn run(inbox: &Receiver<Round>) {
    let mut rounds: Vec<Round> = Vec::new();
    loop {
        if rounds.is_empty() {
            match inbox.recv() {
                Ok(round) => rounds.push(round),
                Err(_) => return,
            }
        }
        thread::sleep(TIMER_AFTER);
        rounds.extend(inbox.try_iter());
        // A panic of one pool's wakers must not affect the deadlines of the others.
        rounds.retain(|round| catch_panic(round).unwrap_or(true));
    }
}
