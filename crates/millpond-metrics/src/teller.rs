//! The one thread of the process that tells the recorder, once in a while, what has come together.
//!
//! A task would not do: it would need a runtime, and end with it.

use crate::observer::Books;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How often what pools did is told: 1 s. Whoever collects metrics does so less often.
pub const TELL_EVERY: Duration = Duration::from_secs(1);

/// Whose books are told; `None` while there is no thread.
static BOOKS: Mutex<Option<Vec<Weak<Books>>>> = Mutex::new(None);

/// Has these books told from now on, until nobody holds them.
pub(crate) fn enlist(books: &Arc<Books>) {
    let mut all = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(all) = all.as_mut() {
        return all.push(Arc::downgrade(books));
    }
    match thread::Builder::new().name("millpond-metrics".to_owned()).spawn(work) {
        Ok(_) => *all = Some(vec![Arc::downgrade(books)]),
        Err(error) => tracing::warn!(%error, "metrics are told only by hand: no thread could be started"),
    }
}

fn work() {
    loop {
        thread::sleep(TELL_EVERY);
        let mut all = BOOKS.lock().unwrap_or_else(PoisonError::into_inner);
        let living: Vec<_> = all.iter().flatten().filter_map(Weak::upgrade).collect();
        if living.is_empty() {
            *all = None;
            return;
        }
        *all = Some(living.iter().map(Arc::downgrade).collect());
        drop(all);
        for books in living {
            // Dropped within the guard: whoever is the last to hold books tells them once more.
            if catch_unwind(AssertUnwindSafe(move || books.tell())).is_err() {
                tracing::warn!("the recorder of metrics panicked");
            }
        }
    }
}
