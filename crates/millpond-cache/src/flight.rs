//! One load at a time for each key of this process: whoever comes second waits for the first.
//!
//! # Invariants
//!
//! 1. A key has a flight exactly while somebody leads it: the leader's guard takes it out when it is dropped.
//! 2. A leader who goes away without an outcome leaves the load to one of those who wait.

use crate::entry::Entry;
use crate::error::CacheError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What came of a load, for those who waited.
pub(crate) type Outcome = Result<Entry, CacheError>;

/// The loads that are under way.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<String, watch::Receiver<Option<Outcome>>>>,
}

/// What somebody is who wants a key to be loaded.
pub(crate) enum Role {
    /// He loads.
    Leader(Lead),
    /// Somebody else does.
    Follower(watch::Receiver<Option<Outcome>>),
}

/// That somebody loads a key.
pub(crate) struct Lead {
    flights: Arc<Flights>,
    key: String,
    tell: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// Leads the load of a key, or follows whoever does.
    pub(crate) fn board(self: &Arc<Self>, key: &str) -> Role {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            return Role::Follower(flight.clone());
        }
        let (tell, flight) = watch::channel(None);
        flights.insert(key.to_owned(), flight);
        Role::Leader(Lead { flights: Arc::clone(self), key: key.to_owned(), tell })
    }

    /// Leads the load of a key, unless somebody does already.
    pub(crate) fn lead(self: &Arc<Self>, key: &str) -> Option<Lead> {
        match self.board(key) {
            Role::Leader(lead) => Some(lead),
            Role::Follower(_) => None,
        }
    }
}

impl Lead {
    /// Ends the flight with an outcome for all who wait.
    pub(crate) fn land(self, outcome: Outcome) {
        self.tell.send_replace(Some(outcome));
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.flights.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// Waits for the leader. `None` if he went away without an outcome.
pub(crate) async fn follow(mut flight: watch::Receiver<Option<Outcome>>) -> Option<Outcome> {
    let outcome = flight.wait_for(Option::is_some).await.ok()?;
    outcome.clone()
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
        assert!(matches!(follow(follower).await, Some(Ok(Entry::Nothing))));
        let Role::Leader(lead) = flights.board("k") else { panic!("the flight has landed") };
        let Role::Follower(follower) = flights.board("k") else { panic!() };
        drop(lead);
        assert!(follow(follower).await.is_none());
        assert!(flights.lead("k").is_some());
        assert!(flights.flights.lock().unwrap().is_empty());
    }
}
