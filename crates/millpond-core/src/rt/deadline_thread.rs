//! The deadline thread: one for the process, it wakes long waiters to set timers of their own.
//!
//! Most waits are over in microseconds, and a timer costs more than all the rest of such a wait. So
//! a waiter begins without one; if it still waits after [`ARM_AFTER`], the thread wakes it once and
//! it sets its own. (With a timer from the start `hold64_core1` serves 2.3 M/s, not 4.1 M/s:
//! `benches`, `--quick`.) It is a thread and not a task, since a task may be stuck behind one that
//! blocks its worker, and deadlines must hold then too. It sleeps while nobody waits. Where no
//! thread can be had, and where tokio's clock is paused, waiters set their timers at once.

use crate::rt::panics::calmly;
use std::process;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a waiter goes without a timer of its own, and how often the thread looks: a caller that
/// waits then waits a little longer, so it should be fewer than one wait in a thousand.
pub const ARM_AFTER: Duration = Duration::from_millis(250);

/// Wakes the waiters of one pool that have waited long enough; `false` if there are none left to be
/// woken.
pub type Round = Box<dyn Fn() -> bool + Send>;

/// The thread of this process: a forked child has none of its parent's threads.
static WATCH: Mutex<Option<(u32, Sender<Round>)>> = Mutex::new(None);

/// Has a pool looked after for as long as its rounds say so. `false` if there is no watch.
pub fn enlist(round: Round) -> bool {
    let mut watch = WATCH.lock().unwrap_or_else(PoisonError::into_inner);
    if watch.as_ref().is_none_or(|(process, _)| *process != process::id()) {
        let (sender, inbox) = channel();
        let thread = thread::Builder::new()
            .name("millpond-watch".to_owned())
            .spawn(move || keep_watch(&inbox));
        *watch = thread.is_ok().then(|| (process::id(), sender));
    }
    watch.as_ref().is_some_and(|(_, sender)| sender.send(round).is_ok())
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which is not in any test")]
fn keep_watch(inbox: &Receiver<Round>) {
    let mut rounds: Vec<Round> = Vec::new();
    loop {
        if rounds.is_empty() {
            match inbox.recv() {
                Ok(round) => rounds.push(round),
                Err(_) => return,
            }
        }
        thread::sleep(ARM_AFTER);
        rounds.extend(inbox.try_iter());
        // Whatever one pool's wakers do, the others' deadlines hold.
        rounds.retain(|round| calmly(round).unwrap_or(true));
    }
}
