//! Drops a future after every possible number of polls, for every outcome of every call.

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
    /// If true, the future is dropped only after another wake-up, that is, after the event that it
    /// waited for has happened.
    woken: bool,
}

impl Cut {
    /// Polls the future and drops it; returns `None` if it had not completed.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the given one.
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
    /// The scripted call.
    pub call: Call,
    /// What the call does; always after a wait, so that it can be cancelled.
    pub act: Act,
    /// When the future under test is dropped.
    pub cut: Cut,
}

/// Calls `round` for every call of a manager and its hooks, with every outcome (slow, failing,
/// failing permanently, hanging, panicking), and every poll at which a runtime can cancel. `round`
/// scripts `case.act` for `case.call`, passes the future under test to [`Cut::of`], checks the pool
/// afterwards and returns true if the future completed; the sweep then goes on to the next outcome.
/// Exhaustive over a [`ScriptedManager`](crate::ScriptedManager) under a paused clock.
///
/// # Panics
///
/// If a future does not complete within a thousand polls.
///
/// # Cancel safety
///
/// Dropping this future drops the round under way.
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
