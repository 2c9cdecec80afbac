//! The users: each acquires a connection, checks that it is clean, starts an operation and drops it
//! half-way.

use crate::plan::{Turn, flow};
use crate::subject::{Failure, PLACES, Subject};
use crate::tally::{Report, Tally};
use fastrand::Rng;
use futures_util::FutureExt;
use millpond_testkit::{ChaosProxy, poll_n};
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Twice as many as slots, so that some users always wait.
pub(crate) const USERS: u64 = 2 * PLACES as u64;

/// After this many failed acquires in a row the soak ends, since no work is being done.
pub(crate) const UNSERVED_MAX: u64 = 3 * USERS;

/// How long a user waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The time within which a pool must have all slots again once the faults have ended.
const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// The parameters of a soak.
#[derive(Debug, Clone, Copy)]
pub struct Soak {
    /// The number of operations to drop half-way.
    pub cuts: u64,
    /// The seed of all random choices.
    pub seed: u64,
    /// The time limit of the soak.
    pub limit: Duration,
}

/// Runs a soak on the pool that `connect` builds from the URL of a proxy in front of the server at
/// `address`.
///
/// # Errors
///
/// Returns an error if the proxy cannot be started or the pool cannot be built.
///
/// # Cancel safety
///
/// Dropping the future leaves nothing behind.
pub async fn soak<S: Subject, E: Display>(
    soak: Soak,
    url: &str,
    address: &str,
    connect: impl FnOnce(&str) -> Result<S, E>,
) -> Result<Report, String> {
    let proxy = ChaosProxy::start(address).await.map_err(|error| format!("no proxy: {error}"))?;
    proxy.plan(move |number, direction| flow(soak.seed, number, direction));
    let pool = connect(&proxy.reroute(url)).map_err(|error| error.to_string())?;
    let (tally, end) = (Arc::new(Tally::default()), Instant::now() + soak.limit);
    let mut users = JoinSet::new();
    for user in 0..USERS {
        let (pool, tally) = (pool.clone(), Arc::clone(&tally));
        users.spawn(async move {
            let mut dice = Rng::with_seed(soak.seed.wrapping_mul(USERS).wrapping_add(user));
            while tally.cuts.get() < soak.cuts
                && tally.unserved.get() < UNSERVED_MAX
                && Instant::now() < end
            {
                let turn = Turn::draw(&mut dice);
                // A panic of the driver drops the lease, as a borrower's panic does.
                if AssertUnwindSafe(play(&pool, &tally, turn, &mut dice))
                    .catch_unwind()
                    .await
                    .is_err()
                {
                    tally.panics.add();
                }
            }
        });
    }
    while users.join_next().await.is_some() {}
    proxy.heal();
    let had = places(&pool).await;
    let mut problems = books(&pool).await;
    if tally.cuts.get() < soak.cuts {
        problems.push(format!("ended before {} cuts", soak.cuts));
    }
    Ok(Report {
        name: S::NAME,
        left: S::LEFT,
        cuts: tally.cuts.get(),
        queries: tally.queries.get(),
        wrong: tally.wrong.get(),
        stale: tally.stale.get(),
        lost: u64::from(PLACES).saturating_sub(had),
        panics: tally.panics.get(),
        problems,
    })
}

/// Plays one turn of one user.
async fn play<S: Subject>(pool: &S, tally: &Tally, turn: Turn, dice: &mut Rng) {
    if dice.u8(0..10) == 0 {
        // On the pool itself, without a lease.
        let begun = within_patience(poll_n(pool.begin(), turn.polls.unwrap_or(3))).await;
        if matches!(begun, None | Some(None)) {
            tally.cuts.add();
        }
        return;
    }
    let Ok(mut lease) = pool.lease().await else {
        tally.unserved.add();
        return;
    };
    tally.unserved.reset();
    if !look::<S>(&mut lease, tally, dice.i64(1..i64::MAX)).await {
        return;
    }
    let nonce = dice.i64(1..i64::MAX);
    let action = S::act(&mut lease, turn.action, nonce);
    let answer = match turn.polls {
        None => within_patience(action).await,
        Some(polls) => within_patience(poll_n(action, polls)).await.flatten(),
    };
    match answer {
        None => _ = tally.cuts.add(),
        Some(answer) => judge(tally, nonce, answer),
    }
}

/// Limits how long a user waits on a connection, which may have fallen silent, before dropping the
/// operation.
async fn within_patience<F: Future>(future: F) -> Option<F::Output> {
    timeout(PATIENCE, future).await.ok()
}

/// Returns true if the lent connection is clean and alive; counts it if it is not clean.
async fn look<S: Subject>(lease: &mut S::Lease, tally: &Tally, nonce: i64) -> bool {
    // A connection that has fallen silent does not answer; that is not the pool's fault.
    let Some(answer) = within_patience(S::look(lease, nonce)).await else { return false };
    let is_alive = answer.is_ok();
    if let Ok((_, true)) = answer {
        tally.stale.add();
    }
    judge(tally, nonce, answer.map(|(answer, _)| answer));
    is_alive
}

/// Counts an answer, and whether it belongs to this query. A connection may fail; it may not give a
/// wrong answer.
fn judge(tally: &Tally, nonce: i64, answer: Result<i64, Failure>) {
    match answer {
        Ok(answer) => {
            tally.queries.add();
            if answer != nonce {
                tally.wrong.add();
            }
        }
        Err(Failure::Wrong) => _ = tally.wrong.add(),
        Err(Failure::Connection) => {}
    }
}

/// Returns how many slots can be lent at once, each with a connection that answers.
async fn places<S: Subject>(pool: &S) -> u64 {
    let had = Arc::new(Tally::default());
    let mut takers = JoinSet::new();
    for taker in 0..PLACES {
        let (pool, had) = (pool.clone(), Arc::clone(&had));
        takers.spawn(async move {
            let taking = async {
                loop {
                    let Ok(mut lease) = pool.lease().await else { continue };
                    if matches!(
                        timeout(Duration::from_secs(10), S::look(&mut lease, i64::from(taker)))
                            .await,
                        Ok(Ok(_))
                    ) {
                        return lease;
                    }
                }
            };
            let lease = timeout(RECOVERY_MAX, taking).await;
            if lease.is_ok() {
                had.queries.add();
            }
            // Held until all takers have a connection.
            let all = async {
                while had.queries.get() < u64::from(PLACES) {
                    sleep(Duration::from_millis(10)).await;
                }
            };
            let _ = timeout(RECOVERY_MAX, all).await;
            drop(lease);
        });
    }
    while takers.join_next().await.is_some() {}
    had.queries.get()
}

/// Returns what is wrong with the pool's counts once no operation is under way.
async fn books<S: Subject>(pool: &S) -> Vec<String> {
    let end = Instant::now() + RECOVERY_MAX;
    loop {
        let Some(status) = pool.status() else { return Vec::new() };
        let totals = &status.totals;
        let balance = totals.created == totals.closed + totals.detached + u64::from(status.open)
            && totals.acquires
                == totals.succeeded + totals.timed_out + totals.cancelled + totals.failed
            && status.in_use == 0;
        if balance && totals.peak <= PLACES {
            return Vec::new();
        }
        if Instant::now() > end {
            return vec![format!("the books do not balance: {status:?}")];
        }
        sleep(Duration::from_millis(10)).await;
    }
}
