//! Drops a future after every number of polls, combined with every outcome of every foreign call.

use crate::act::{Act, Call};
use crate::poll::{poll_n, poll_n_woken};
use millpond_core::HookPoint;
use std::future::Future;
use std::time::Duration;

/// More polls than any future of a pool needs.
const POLLS_MAX: usize = 1_000;

const CALLS: [Call; 10] = [
    Call::Connect,
    Call::Ping,
    Call::Triage,
    Call::Reset,
    Call::Close,
    Call::Hook(HookPoint::FirstConnect),
    Call::Hook(HookPoint::Connect),
    Call::Hook(HookPoint::Checkout),
    Call::Hook(HookPoint::Checkin),
    Call::Hook(HookPoint::Close),
];

/// When a future is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    polls: usize,
    /// Only after it was woken once more, when the event that woke it has already happened.
    woken: bool,
}

impl Cut {
    /// Polls the future and drops it; `None` if it had not completed.
    ///
    /// # Cancel safety
    ///
    /// The future is dropped with it.
    pub async fn of<F: Future>(self, future: F) -> Option<F::Output> {
        if self.woken {
            poll_n_woken(future, self.polls).await
        } else {
            poll_n(future, self.polls).await
        }
    }
}

/// One case of a sweep: a call, what it does, and when the future is dropped.
#[derive(Debug, Clone)]
pub struct CutCase {
    /// The call that is scripted.
    pub call: Call,
    /// Its act, always after a wait, so that there is a point at which to cancel.
    pub act: Act,
    /// When the future under test is dropped.
    pub cut: Cut,
}

/// Plays `round` for every call of a manager and of hooks, with every outcome (slow, failing,
/// failing for good, hanging, panicking), and every point at which a runtime can cancel. `round`
/// tells the script to do `case.act` at `case.call`, hands the future under test to [`Cut::of`],
/// checks what is left, and says whether the future came to its end; then the next outcome begins.
/// Exhaustive over a [`ScriptedManager`](crate::ScriptedManager) under a paused clock.
///
/// # Panics
///
/// If a future does not complete within a thousand polls.
///
/// # Cancel safety
///
/// The round is dropped with it.
pub async fn cancel_sweep(mut round: impl AsyncFnMut(CutCase) -> bool) {
    let slow = || Act::slow(Duration::from_millis(3));
    let ends = [Act::Ok, Act::transient("scripted"), Act::permanent("scripted"), Act::Panic];
    let outcomes: Vec<Act> =
        ends.into_iter().map(|end| slow().then(end)).chain([Act::Never]).collect();
    for call in CALLS {
        for act in &outcomes {
            for woken in [false, true] {
                let case = |polls| CutCase { call, act: act.clone(), cut: Cut { polls, woken } };
                let mut polls = 0;
                while !round(case(polls)).await {
                    polls += 1;
                    assert!(polls < POLLS_MAX, "{call} {act:?}: polled without end");
                }
            }
        }
    }
}
