//! The reporter: one thread for the process that reports all pools to the recorder at an interval.
//!
//! The reporter is a thread and not a task, because a task needs a runtime and ends with it.

use crate::registry::Registry;
use millpond_core::catch_panic;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// The interval between two reports: 1 s, which is shorter than the usual collection interval.
pub const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The registries to report; `None` while the thread does not run.
static REGISTRIES: Mutex<Option<Vec<Weak<Registry>>>> = Mutex::new(None);

/// Reports this registry from now on, until its last owner drops it.
pub(crate) fn enlist(registry: &Arc<Registry>) {
    let mut all = REGISTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(all) = all.as_mut() {
        return all.push(Arc::downgrade(registry));
    }
    match thread::Builder::new().name("millpond-metrics".to_owned()).spawn(work) {
        Ok(_) => *all = Some(vec![Arc::downgrade(registry)]),
        Err(error) => {
            tracing::warn!(%error,
                "metrics are reported only by `report`: no thread could be started")
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own, which is not in any test")]
fn work() {
    loop {
        thread::sleep(REPORT_INTERVAL);
        let mut all = REGISTRIES.lock().unwrap_or_else(PoisonError::into_inner);
        let living: Vec<_> = all.iter().flatten().filter_map(Weak::upgrade).collect();
        if living.is_empty() {
            *all = None;
            return;
        }
        *all = Some(living.iter().map(Arc::downgrade).collect());
        drop(all);
        for registry in living {
            // Dropped inside the panic guard, because the last owner of a registry reports once
            // more.
            if let Err(panic) = catch_panic(move || registry.report()) {
                tracing::warn!(panic, "the recorder of metrics panicked");
            }
        }
    }
}
