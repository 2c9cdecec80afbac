//! One load at a time for a key in this process: later callers wait for the first.
//!
//! A loader may itself use the cache. Such a nested load runs on the permit of the outer one, or it
//! could deadlock: with 32 permits, 32 loaders that all request a 33rd key would wait forever.
//!
//! # Invariants
//!
//! 1. A key has a flight exactly while it has a leader whose load is up to date: dropping the
//!    leader's guard removes the flight.
//! 2. If a leader is dropped without an outcome, one of its followers takes over.
//! 3. A load that holds a permit never waits for one that waits for a permit: the leader that it
//!    follows then loads without a permit.
//! 4. No two loads wait for each other: the caller that would close the circle gets an error.
//! 5. What a loader has read before a write or a delete of its key is never stored after it. The
//!    task that stores it holds the leader's guard, so that this is true if the caller goes away.
//!    The flight stays while a write waits for that task: if the write is dropped, the next one
//!    waits as well.
//! 6. Nobody waits for a load or a store beyond its deadline, which passes only if its runtime does
//!    not go on. Nothing is stored after that.

use crate::entry::Entry;
use crate::error::CacheError;
use futures_util::future::join_all;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedMutexGuard, watch};
use tokio::time::{Instant, timeout, timeout_at};

tokio::task_local! {
    /// The loads that this future is part of, the outermost first.
    static LOADS: Vec<Load>;
}

/// A load that is under way.
#[derive(Clone)]
struct Load {
    flights: Arc<Flights>,
    key: String,
    store: Arc<Store>,
}

impl Load {
    /// Its flight, unless it is out of date: then there may be another one for the key.
    fn flight<'a>(&self, flights: &'a mut HashMap<String, Flight>) -> Option<&'a mut Flight> {
        flights.get_mut(&self.key).filter(|flight| Arc::ptr_eq(&flight.store, &self.store))
    }
}

/// The outcome of a load, shared with its followers.
pub(crate) type Outcome = Result<Entry, CacheError>;

/// How far a load has come.
#[derive(Debug, Clone)]
enum Progress {
    /// It has an outcome before this time, or never.
    Pending(Instant),
    Done(Outcome),
}

/// The loads that are under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<String, Flight>>,
}

#[derive(Debug)]
struct Flight {
    progress: watch::Receiver<Progress>,
    priority: Arc<Notify>,
    store: Arc<Store>,
    /// The keys that its loader waits for.
    waits: Vec<String>,
}

impl Flight {
    /// Returns whether its deadline has passed without an outcome.
    fn is_overdue(&self) -> bool {
        matches!(&*self.progress.borrow(), Progress::Pending(until) if *until <= Instant::now())
    }
}

/// Locked while a load stores its value. True once the key was written or deleted by another call:
/// the value of the load is out of date.
type Store = AsyncMutex<bool>;

/// The part that a caller plays in the load of a key.
pub(crate) enum Role {
    /// This caller loads.
    Leader(Lead),
    /// Another caller loads; this one waits.
    Follower(Follow),
    /// The load that this caller would wait for waits for this caller.
    Circle,
}

/// The leader's guard of a flight.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: String,
    progress: watch::Sender<Progress>,
    priority: Arc<Notify>,
    store: Arc<Store>,
    _wait: Option<Wait>,
}

/// A follower's end of a flight.
pub(crate) struct Follow {
    progress: watch::Receiver<Progress>,
    _wait: Option<Wait>,
}

/// A record that the loader of one key waits for another key.
struct Wait {
    load: Load,
    key: String,
}

impl Flights {
    /// Becomes the leader of the load of a key, which takes no longer than `limit`, or follows the
    /// present one.
    pub(crate) fn join(self: &Arc<Self>, key: &str, limit: Duration) -> Role {
        let load = LOADS
            .try_with(|loads| loads.iter().rfind(|load| Arc::ptr_eq(&load.flights, self)).cloned());
        let mut flights = self.lock();
        if flights.get(key).is_some_and(Flight::is_overdue)
            && let Some(overdue) = flights.remove(key)
            && let Ok(mut is_outdated) = overdue.store.try_lock()
        {
            *is_outdated = true;
        }
        let wait = match load {
            Ok(Some(load)) if leads_to(&flights, key, &load.key) => return Role::Circle,
            Ok(Some(load)) => {
                if let Some(flight) = load.flight(&mut flights) {
                    flight.waits.push(key.to_owned());
                }
                Some(Wait { load, key: key.to_owned() })
            }
            _ => None,
        };
        if let Some(flight) = flights.get(key) {
            if is_nested() {
                flight.priority.notify_one();
            }
            return Role::Follower(Follow { progress: flight.progress.clone(), _wait: wait });
        }
        let (sender, progress) = watch::channel(Progress::Pending(Instant::now() + limit));
        let (priority, store) = (Arc::new(Notify::new()), Arc::<Store>::default());
        let flight = Flight {
            progress,
            priority: Arc::clone(&priority),
            store: Arc::clone(&store),
            waits: Vec::new(),
        };
        flights.insert(key.to_owned(), flight);
        let (flights, key) = (Arc::clone(self), key.to_owned());
        Role::Leader(Lead { flights, key, progress: sender, priority, store, _wait: wait })
    }

    /// Ends the load of a key for later callers and prevents it from storing its value. If it is
    /// storing the value already, waits for that, for at most `limit`.
    pub(crate) async fn outdate(&self, key: &str, limit: Duration) {
        let store = self.lock().get(key).map(|flight| Arc::clone(&flight.store));
        if let Some(store) = store {
            forbid(&store, limit).await;
            self.remove(key, &store);
        }
    }

    /// Does the same for all selected keys.
    pub(crate) async fn outdate_all(&self, is_selected: impl Fn(&str) -> bool, limit: Duration) {
        let selected = |(key, flight): (&String, &Flight)| {
            is_selected(key).then(|| (key.clone(), Arc::clone(&flight.store)))
        };
        let stores: Vec<_> = self.lock().iter().filter_map(selected).collect();
        join_all(stores.iter().map(|(_, store)| forbid(store, limit))).await;
        stores.iter().for_each(|(key, store)| self.remove(key, store));
    }

    /// Removes the flight of a load, unless there is another one for the key by now.
    fn remove(&self, key: &str, store: &Arc<Store>) {
        let mut flights = self.lock();
        if flights.get(key).is_some_and(|flight| Arc::ptr_eq(&flight.store, store)) {
            flights.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a load from storing its value. If it is storing that for longer than `limit`, its deadline
/// has passed, after which nothing is sent any more.
async fn forbid(store: &Store, limit: Duration) {
    if let Ok(mut is_outdated) = timeout(limit, store.lock()).await {
        *is_outdated = true;
    }
}

/// True if the load of `from` waits for `to`, directly or through other loads. Terminates because
/// no circle exists yet.
fn leads_to(flights: &HashMap<String, Flight>, from: &str, to: &str) -> bool {
    from == to
        || flights
            .get(from)
            .is_some_and(|flight| flight.waits.iter().any(|key| leads_to(flights, key, to)))
}

/// Returns true if this runs inside a loader of any cache, which already holds a permit.
pub(crate) fn is_nested() -> bool {
    LOADS.try_with(|_| ()).is_ok()
}

impl Lead {
    /// The key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Waits until a load that holds a permit waits for this one.
    pub(crate) async fn wait_for_priority(&self) {
        self.priority.notified().await;
    }

    /// Runs the loader as a part of this load.
    pub(crate) async fn run<F: Future>(&self, loader: impl FnOnce() -> F) -> F::Output {
        let mut loads = LOADS.try_with(Clone::clone).unwrap_or_default();
        let (flights, store) = (Arc::clone(&self.flights), Arc::clone(&self.store));
        loads.push(Load { flights, key: self.key.clone(), store });
        LOADS.scope(loads, async { loader().await }).await
    }

    /// Returns the right to store the value of this load until a deadline; `None` if it is out of
    /// date.
    pub(crate) async fn may_store(&self, until: Instant) -> Option<OwnedMutexGuard<bool>> {
        let outdated = Arc::clone(&self.store).lock_owned().await;
        let may_store = !*outdated;
        if may_store {
            self.progress.send_replace(Progress::Pending(until));
        }
        may_store.then_some(outdated)
    }

    /// Ends the flight with an outcome for all followers.
    pub(crate) fn finish(&self, outcome: Outcome) {
        self.progress.send_replace(Progress::Done(outcome));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.remove(&self.key, &self.store);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut flights = self.load.flights.lock();
        if let Some(flight) = self.load.flight(&mut flights)
            && let Some(at) = flight.waits.iter().position(|key| *key == self.key)
        {
            flight.waits.swap_remove(at);
        }
    }
}

impl Follow {
    /// Waits for the leader. Returns `None` if it was dropped without an outcome, or if its
    /// deadline has passed.
    pub(crate) async fn outcome(mut self) -> Option<Outcome> {
        loop {
            let progress = self.progress.borrow_and_update().clone();
            let until = match progress {
                Progress::Done(outcome) => return Some(outcome),
                Progress::Pending(until) => until,
            };
            timeout_at(until, self.progress.changed()).await.ok()?.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_second_caller_gets_the_outcome_of_the_first_or_takes_over() {
        let flights = Arc::new(Flights::default());
        let Role::Leader(lead) = flights.join("k", LIMIT) else { panic!() };
        let Role::Follower(follower) = flights.join("k", LIMIT) else { panic!() };
        lead.finish(Ok(Entry::Nothing));
        drop(lead);
        assert!(matches!(follower.outcome().await, Some(Ok(Entry::Nothing))));
        let Role::Leader(lead) = flights.join("k", LIMIT) else { panic!("the load has finished") };
        let Role::Follower(follower) = flights.join("k", LIMIT) else { panic!() };
        drop(lead);
        assert!(follower.outcome().await.is_none());
        assert!(matches!(flights.join("k", LIMIT), Role::Leader(_)));
        assert!(flights.flights.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_write_waits_for_a_load_that_stores_and_then_no_load_from_before_it_may() {
        let flights = Arc::new(Flights::default());
        for all in [false, true] {
            let Role::Leader(lead) = flights.join("k", LIMIT) else { panic!() };
            let stores = lead.may_store(Instant::now() + LIMIT).await.unwrap();
            let write = || {
                Box::pin(async {
                    if all {
                        flights.outdate_all(|_| true, LIMIT).await;
                    } else {
                        flights.outdate("k", LIMIT).await;
                    }
                })
            };
            assert!(futures_util::poll!(write()).is_pending(), "it overtakes the load");
            let mut write = write();
            let is_pending = futures_util::poll!(&mut write).is_pending();
            assert!(is_pending, "one that was dropped lets the next one overtake the load");
            drop(stores);
            write.await;
            assert!(lead.may_store(Instant::now() + LIMIT).await.is_none());
        }
    }
}
