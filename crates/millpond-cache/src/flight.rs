//! One load at a time for each key of this process: whoever comes second waits for the first.
//!
//! A loader may ask the cache itself. What it asks for runs on the turn that it has, or it would wait for itself: where 32
//! may load, 32 that ask for a 33rd key would wait for ever.
//!
//! # Invariants
//!
//! 1. A key has a flight exactly while somebody leads it: the leader's guard takes it out when it is dropped.
//! 2. A leader who goes away without an outcome leaves the load to one of those who wait.
//! 3. Nobody who has a turn waits for somebody who waits for one: the leader whom he follows loads without.
//! 4. No two loads wait for each other: who would close the circle is refused.

use crate::entry::Entry;
use crate::error::CacheError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

tokio::task_local! {
    /// The loads that this future is part of, the outermost first.
    static LOADS: Vec<Load>;
}

/// A load that is under way.
#[derive(Clone)]
struct Load {
    flights: Arc<Flights>,
    key: String,
}

/// What came of a load, for those who waited.
pub(crate) type Outcome = Result<Entry, CacheError>;

/// The loads that are under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<String, Flight>>,
}

#[derive(Debug)]
struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    hurry: Arc<Notify>,
    /// The keys that its loader waits for.
    waits: Vec<String>,
}

/// What somebody is who wants a key to be loaded.
pub(crate) enum Role {
    /// He loads.
    Leader(Lead),
    /// Somebody else does.
    Follower(Follow),
    /// He is asked for by a load that waits for him.
    Circle,
}

/// That somebody loads a key.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: String,
    tell: watch::Sender<Option<Outcome>>,
    hurry: Arc<Notify>,
    _wait: Option<Wait>,
}

/// That somebody waits for a leader.
pub(crate) struct Follow {
    outcome: watch::Receiver<Option<Outcome>>,
    _wait: Option<Wait>,
}

/// That the loader of one key waits for another one.
struct Wait {
    load: Load,
    key: String,
}

impl Flights {
    /// Leads the load of a key, or follows whoever does.
    pub(crate) fn board(self: &Arc<Self>, key: &str) -> Role {
        let load = LOADS.try_with(|loads| loads.iter().rfind(|load| Arc::ptr_eq(&load.flights, self)).cloned());
        let mut flights = self.lock();
        let wait = match load {
            Ok(Some(load)) if leads_to(&flights, key, &load.key) => return Role::Circle,
            Ok(Some(load)) => {
                if let Some(flight) = flights.get_mut(&load.key) {
                    flight.waits.push(key.to_owned());
                }
                Some(Wait { load, key: key.to_owned() })
            }
            _ => None,
        };
        if let Some(flight) = flights.get(key) {
            if is_nested() {
                flight.hurry.notify_one();
            }
            return Role::Follower(Follow { outcome: flight.outcome.clone(), _wait: wait });
        }
        let (tell, outcome) = watch::channel(None);
        let hurry = Arc::new(Notify::new());
        flights.insert(key.to_owned(), Flight { outcome, hurry: Arc::clone(&hurry), waits: Vec::new() });
        Role::Leader(Lead { flights: Arc::clone(self), key: key.to_owned(), tell, hurry, _wait: wait })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether who waits for one key waits for the other one, through whatever loads. There are no circles yet.
fn leads_to(flights: &HashMap<String, Flight>, from: &str, to: &str) -> bool {
    from == to || flights.get(from).is_some_and(|flight| flight.waits.iter().any(|key| leads_to(flights, key, to)))
}

/// Whether this is asked by a loader, of any cache: it has a turn already.
pub(crate) fn is_nested() -> bool {
    LOADS.try_with(|_| ()).is_ok()
}

impl Lead {
    /// The key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Waits until somebody with a turn waits for this load.
    pub(crate) async fn hurried(&self) {
        self.hurry.notified().await;
    }

    /// Runs the loader as a part of this load.
    pub(crate) async fn run<F: Future>(&self, loader: impl FnOnce() -> F) -> F::Output {
        let mut loads = LOADS.try_with(Clone::clone).unwrap_or_default();
        loads.push(Load { flights: Arc::clone(&self.flights), key: self.key.clone() });
        LOADS.scope(loads, async { loader().await }).await
    }

    /// Ends the flight with an outcome for all who wait.
    pub(crate) fn land(self, outcome: Outcome) {
        self.tell.send_replace(Some(outcome));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Load { flights, key } = &self.load;
        if let Some(flight) = flights.lock().get_mut(key)
            && let Some(at) = flight.waits.iter().position(|key| *key == self.key)
        {
            flight.waits.swap_remove(at);
        }
    }
}

impl Follow {
    /// Waits for the leader. `None` if he went away without an outcome.
    pub(crate) async fn outcome(mut self) -> Option<Outcome> {
        let outcome = self.outcome.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_second_gets_the_first_one_s_outcome_or_takes_over() {
        let flights = Arc::new(Flights::default());
        let Role::Leader(lead) = flights.board("k") else { panic!() };
        let Role::Follower(follower) = flights.board("k") else { panic!() };
        lead.land(Ok(Entry::Nothing));
        assert!(matches!(follower.outcome().await, Some(Ok(Entry::Nothing))));
        let Role::Leader(lead) = flights.board("k") else { panic!("the flight has landed") };
        let Role::Follower(follower) = flights.board("k") else { panic!() };
        drop(lead);
        assert!(follower.outcome().await.is_none());
        assert!(matches!(flights.board("k"), Role::Leader(_)));
        assert!(flights.flights.lock().unwrap().is_empty());
    }
}
